"""What a call leaves behind in a child: processes that live on, and files in its scratch folder. Looked for after each; microseconds.

It believes the child, as it runs in it: a document that took the child over can say that nothing is left, as it can stay itself.
"""

from __future__ import annotations

import os


class Leftovers:
    """Looks for them. The process must be the parent of what its descendants leave (``process_tree.become_subreaper``).

    Args:
        scratch: the one folder that calls may write to. What is in it now is nobody's: libraries keep files from their start on.
        own_file_system: whether it is one by itself, which also tells of files that were removed and are still open.
    """

    def __init__(self, scratch: str, *, own_file_system: bool) -> None:
        self._scratch = scratch
        self._look = _used if own_file_system else _named
        self._before = self._look(scratch)

    def any(self) -> bool:
        """Whether there are any."""
        return _processes() or self._files()

    def _files(self) -> bool:
        try:
            return self._look(self._scratch) != self._before
        except OSError:
            return True  # whoever keeps us from looking has left something


def _processes() -> bool:
    """Whether any process below this one is alive; collects the dead."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _named(folder: str) -> object:
    return os.listdir(folder)  # noqa: PTH208 - after each call


def _used(folder: str) -> object:
    usage = os.statvfs(folder)
    return usage.f_blocks - usage.f_bfree, usage.f_files - usage.f_ffree
