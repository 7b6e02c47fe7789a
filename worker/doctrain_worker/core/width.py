"""How many documents of one hold of a shard may run at once, as the tracker changes it (docs/protocol.md, "Resize").

The tracker counts the shard for its old width until the worker says that a narrower one is in force: so it is said only once no more
run, or hold a slot for want of an answer, than that. Changes are counted, so that one that comes late changes nothing.
"""

from __future__ import annotations


class Width:
    """How many documents of one hold may run at once.

    ``now``: so many may run when one is to start. ``in_force``: the last change that holds for those that run, too.
    """

    def __init__(self, width: int, resize: int) -> None:
        self.now = width
        self.in_force = self._heard = resize

    def change(self, width: int, resize: int) -> bool:
        """The tracker wants another width; answers whether that is news."""
        if resize <= self._heard:
            return False
        self.now, self._heard = width, resize
        return True

    def settled(self) -> None:
        """No more slots are held than there are now."""
        self.in_force = self._heard
