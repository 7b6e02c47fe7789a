"""The worker-wide door to starting documents.

Shut while detached from every coordinator, while a suspect is tried alone, and once the session's deadline has passed: a
process that was frozen starts nothing when it wakes, before it has learnt that it was fenced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LATE = "late"


class Gate:
    """``running`` counts the documents that run in the worker; whoever starts one asks ``admits`` first."""

    def __init__(self) -> None:
        self.running = 0
        self.until = float("inf")
        self._reasons: set[str] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._alone = asyncio.Lock()
        self.shut = False

    def close(self, reason: str) -> None:
        """Nothing new starts until every reason is gone."""
        self._reasons.add(reason)
        self.shut = True
        self._open.clear()

    def open(self, reason: str) -> None:
        """One reason is gone."""
        self._reasons.discard(reason)
        if not self._reasons:
            self.shut = False
            self._open.set()

    def extend(self, until: float) -> None:
        """Documents may start up to this time of the monotonic clock."""
        self.until = until
        self.open(LATE)

    def admits(self, now: float) -> bool:
        """Whether a document may start; ask right before."""
        if now > self.until:
            self.close(LATE)
        return not self.shut

    async def wait_open(self) -> None:
        """Waits until documents may start."""
        await self._open.wait()

    def left(self) -> None:
        """A document that ran ended."""
        self.running -= 1
        if self.running == 0:
            self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nothing else of this worker runs while open, and nothing else is on trial."""
        async with self._alone:
            self.close("trial")
            try:
                while self.running:
                    self._idle.clear()
                    await self._idle.wait()
                yield
            finally:
                self.open("trial")
