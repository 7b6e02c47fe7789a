"""An event loop for callers without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="doctrain-client", daemon=True)
        self._thread.start()
        self._loop = started.result()

    @staticmethod
    def _serve(started: Future[asyncio.AbstractEventLoop]) -> None:
        # The runner cancels what still runs and closes what is still open when the loop stops.
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            started.set_result(loop)
            loop.run_forever()

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Waits for ``work``; an interrupt of the waiting thread cancels it."""
        if self.closed:
            work.close()
            raise RuntimeError("This client is closed.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[Result, None]) -> Iterator[Result]:
        """Reads ``items`` one at a time; leaving the iteration early closes them."""
        turn = asyncio.Lock()  # an interrupted step may still be ending when the items are closed

        async def step() -> tuple[Result, ...]:
            async with turn:
                try:
                    return (await anext(items),)
                except StopAsyncIteration:
                    return ()

        async def close() -> None:
            async with turn:
                await items.aclose()

        try:
            while item := self.run(step()):
                yield item[0]
        finally:
            if threading.current_thread() is self._thread:  # collected as garbage there: it must not wait for itself
                asyncio.run_coroutine_threadsafe(close(), self._loop)
            elif not self.closed:
                self.run(close())

    def close(self) -> None:
        """Stops the thread."""
        if not self.closed:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
