"""How much of a stage's time its document only waited, for a free child or for room: that is nobody's work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StageClock:
    """Runs from when it is made. ``now``: seconds, monotonic.

    Parts of a stage may go on at once: it waits while all of them wait.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = self._changed = now()
        self._waits = self._parts = 0
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The stage, or a part of it, waits while this is open."""
        self._count(waits=1)
        try:
            yield
        finally:
            self._count(waits=-1)

    @contextmanager
    def part(self) -> Iterator[None]:
        """One of several parts goes on while this is open."""
        self._count(parts=1)
        try:
            yield
        finally:
            self._count(parts=-1)

    @property
    def only_waits(self) -> bool:
        """Whether the stage waits just now."""
        return self._waits >= max(1, self._parts)

    def read(self) -> tuple[float, float]:
        """The seconds so far that were waited, and the others."""
        self._count()
        return self._waited, self._changed - self._began - self._waited

    def _count(self, *, waits: int = 0, parts: int = 0) -> None:
        now = self._now()
        if self.only_waits:
            self._waited += now - self._changed
        self._changed = now
        self._waits += waits
        self._parts += parts
