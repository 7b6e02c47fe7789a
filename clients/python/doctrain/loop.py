"""An event loop for callers without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

Result = TypeVar("Result")


WITHIN_A_CALLBACK = "A callback cannot call the client that calls it: both would wait for ever. Call once the method has returned."


class BackgroundLoop:
    """An event loop in a daemon thread, on which callbacks run, too."""

    def __init__(self) -> None:
        self._closing = False
        self._giving = threading.Lock()
        """Held while work is given to the loop, so that all of it comes before the loop's end, which ends it."""
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
        """Whether nothing can be run any more."""
        return self._closing

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Waits for ``work``; an interrupt of the waiting thread cancels it.

        Raises RuntimeError in a callback, and when the client is closed, be it meanwhile.
        """
        self._check_thread(work)
        with self._giving:
            if self._closing:
                work.close()
                raise RuntimeError("This client is closed.")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("This client was closed meanwhile.") from None
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

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs ``last``, ends what else runs, and stops the thread; once is enough. Raises RuntimeError in a callback."""
        self._check_thread(last)
        with self._giving:
            closes_already, self._closing = self._closing, True
        if closes_already:
            last.close()
        else:
            try:
                asyncio.run_coroutine_threadsafe(last, self._loop).result()
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _check_thread(self, work: Coroutine[Any, Any, object]) -> None:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(WITHIN_A_CALLBACK)
