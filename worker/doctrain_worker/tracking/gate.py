"""The worker-wide door to starting documents.

Shut while detached from every coordinator, while a suspect is tried alone, and once the session's deadline has passed: a
process that was frozen starts nothing when it wakes, before it has learnt that it was fenced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum


class Shut(Enum):
    """Why nothing may start: no stream to a coordinator, the session's deadline has passed, a suspect is tried alone."""

    DETACHED = 1
    LATE = 2
    TRIAL = 3


class Gate:
    """Whoever starts a document asks ``admits`` first. ``running`` counts those that run in the worker, from ``entered`` to ``left``."""

    def __init__(self) -> None:
        self.running = 0
        self.until = float("inf")
        self.shut = False
        self._reasons: set[Shut] = set()
        self._trial = False
        self._waiting = 0
        self._changed = asyncio.Event()

    @property
    def is_waited_at(self) -> bool:
        """Whether a document waits to be started, or to be tried."""
        return self._waiting > 0

    def close(self, reason: Shut) -> None:
        """Nothing new starts until every reason is gone."""
        self._reasons.add(reason)
        self.shut = True

    def open(self, reason: Shut) -> None:
        """One reason is gone."""
        if reason in self._reasons:
            self._reasons.remove(reason)
            self.shut = bool(self._reasons)
            self.wake()

    def extend(self, until: float) -> None:
        """Documents may start up to this time of the monotonic clock."""
        self.until = until
        self.open(Shut.LATE)

    def admits(self, now: float) -> bool:
        """Whether a document may start; ask right before."""
        if now > self.until:
            self.close(Shut.LATE)
        return not self.shut

    def admits_trial(self, now: float) -> bool:
        """The same for whoever is ``alone``."""
        self.admits(now)
        return self._reasons <= {Shut.TRIAL}

    async def changed(self) -> None:
        """Waits until whoever waits is to look again: a reason is gone, nothing runs any more, or somebody says so (``wake``)."""
        self._waiting += 1
        try:
            await self._wait()
        finally:
            self._waiting -= 1

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Whoever waits at the gate looks again."""
        self._changed.set()

    def entered(self) -> None:
        """A document runs."""
        self.running += 1

    def left(self) -> None:
        """A document that ran ended."""
        self.running -= 1
        if self.running == 0:
            self.wake()

    @asynccontextmanager
    async def alone(self, given_up: Callable[[], bool]) -> AsyncIterator[None]:
        """Nothing else of this worker runs while open, and nothing else is on trial, unless it is ``given_up`` while waiting for that."""
        while self._trial and not given_up():
            await self.changed()
        if given_up():
            yield
            return
        self._trial = True
        self.close(Shut.TRIAL)
        try:
            while self.running and not given_up():
                await self._wait()
            yield
        finally:
            self._trial = False
            self.open(Shut.TRIAL)
