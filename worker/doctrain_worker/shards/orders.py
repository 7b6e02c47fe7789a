"""What a hold of a shard is to do other than go on: hand back what is left, or end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from doctrain_worker.shards.interruptible import Interruptible
from doctrain_worker.tracking.gate import Gate


class End(Enum):
    """How a hold of a shard ended. LOST: with the session, so the next one asks for the shard again. CUT: to be handed back at once."""

    DONE = 1
    HANDED_BACK = 2
    STOPPED = 3
    STALE = 4
    LOST = 5
    CUT = 6


class Orders:
    """The orders of one hold, whoever gives them: the tracker, the worker, or what became of its documents.

    ``starts_no_more``: what runs may end, if it was not interrupted, and nothing else may start. ``yielded`` says why and
    for how many seconds the rest goes back. ``all_started`` is called when nothing more is to start, maybe more than once.
    """

    def __init__(self, gate: Gate, all_started: Callable[[], None]) -> None:
        self._gate, self._all_started = gate, all_started
        self._work = Interruptible[End]()
        self._moved = asyncio.Event()
        self.yielded: tuple[float, str] | None = None
        self.starts_no_more = False

    async def run(self, work: Awaitable[End]) -> End:
        """Runs the hold's work to its end, or until it is interrupted."""
        return await self._work.run(work)

    @property
    def ended(self) -> asyncio.Event:
        """Set when nothing of the hold runs in this process."""
        return self._work.ended

    def interrupt(self, end: End) -> None:
        """Kills what runs and ends the hold; the first interrupt counts."""
        self.starts_no_more = True
        self._work.interrupt(end)

    def hand_back(self, reason: str, delay_seconds: float = 0.0) -> None:
        """Starts nothing more; the rest goes back once what runs has ended and is recorded. The first reason counts."""
        if self.yielded is None:
            self.yielded = delay_seconds, reason
            self.starts_no_more = True
            self._all_started()
            self.wake()
            self._gate.wake()

    async def changed(self, seconds: float | None = None) -> None:
        """Waits until whoever waits for the hold is to look again (``wake``), for so long at most."""
        self._moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Something of the hold moved: an answer came, the last document ended, a retry is due at another time."""
        self._moved.set()
