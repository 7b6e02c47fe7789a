"""When a dispatched shard that nobody has begun is published again: at growing intervals, under the same number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Wait:
    due: float
    interval: float


class Overdue:
    """Remembers (shard, number) pairs for one leader; a new leader publishes all of them once. Times in seconds."""

    def __init__(self, first: float = 10.0, growth: float = 2.0, longest: float = 600.0) -> None:
        self._first, self._growth, self._longest = first, growth, longest
        self._waits: dict[tuple[int, int], _Wait] = {}

    def granted(self, now: float, shard: int, number: int) -> None:
        """The shard was granted, and published, just now."""
        self._waits[shard, number] = _Wait(now + self._first, self._first)

    def due(self, now: float, dispatched: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which of all that are dispatched now should be published again; forgets the others that it knew."""
        due, waits = set(), {}
        for key in dispatched:
            wait = self._waits.get(key)
            if wait is None:
                wait = _Wait(now, self._first / self._growth)
            if wait.due <= now:
                interval = min(wait.interval * self._growth, self._longest)
                wait = _Wait(now + interval, interval)
                due.add(key)
            waits[key] = wait
        self._waits = waits
        return due
