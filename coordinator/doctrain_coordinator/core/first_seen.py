"""For how long something has been seen without a break, by whoever looks now and then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Key = tuple[int, int]
"""(shard, number)."""


class FirstSeen:
    """What one looker remembers. Times in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def ages(self, now: float, keys: Iterable[Key]) -> Mapping[Key, float]:
        """How long ago each thing that is seen now was seen first; everything else is forgotten."""
        self._since = {key: self._since.get(key, now) for key in keys}
        return {key: now - since for key, since in self._since.items()}
