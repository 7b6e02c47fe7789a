"""Work that somebody else may end, in the task that runs it: nothing is left to wait for, or to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Generic, TypeVar

T = TypeVar("T")


class Interruptible(Generic[T]):
    """``run`` once. ``interrupted`` is what it is to answer in place of the work's result; ``ended`` is set when nothing of it runs."""

    def __init__(self) -> None:
        self._scope = asyncio.timeout(None)
        self.interrupted: T | None = None
        self.ended = asyncio.Event()

    async def run(self, work: Awaitable[T]) -> T:
        """Answers the work's result, or what it was interrupted with, once it has ended."""
        result = None
        try:
            async with self._scope:
                result = await work
        except TimeoutError:
            if self.interrupted is None:
                raise
        finally:
            self.ended.set()
        answer = result if self.interrupted is None else self.interrupted
        assert answer is not None
        return answer

    def interrupt(self, answer: T) -> None:
        """Cancels the work, if it runs. The first interrupt counts."""
        if self.interrupted is None and not self.ended.is_set():
            self.interrupted = answer
            self._scope.reschedule(asyncio.get_running_loop().time())
