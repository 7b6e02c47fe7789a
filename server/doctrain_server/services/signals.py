"""When a process is told to stop: while it works, and while it still starts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@asynccontextmanager
async def stop_requested() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once, and the kernel what is below it."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        event.set()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield event
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


class StoppedError(Exception):
    """A process was told to stop while it still started."""


@asynccontextmanager
async def unless_stopped(stop: asyncio.Event) -> AsyncIterator[None]:
    """Gives up what runs inside when ``stop`` is set, and raises StoppedError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as scope:
            waiting = asyncio.create_task(stop.wait(), name="stop while starting")
            waiting.add_done_callback(lambda task: None if task.cancelled() else scope.reschedule(loop.time()))
            try:
                yield
            finally:
                waiting.cancel()
                await asyncio.wait({waiting})
    except TimeoutError as error:
        if not stop.is_set():
            raise
        raise StoppedError from error
