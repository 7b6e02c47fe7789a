"""A part of the mesh as a process of its own: settings, telemetry, adapters, signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from doctrain_mesh import logs, telemetry
from doctrain_mesh.settings import Settings
from doctrain_server import adapters, doctor, required

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


async def run_coordinator(settings: Settings) -> None:
    """Serves until it is told to stop, then drains within ``drain_seconds``."""
    from doctrain_coordinator import app as coordinator  # workers load this module too

    logs.configure(settings.log_level, settings.log_format, libraries=settings.dependency_log_level, process=settings.process_name)
    required.check_coordinator(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.exporting(settings.otlp_endpoint, service="doctrain-coordinator", instance=settings.process_name))
        stop = await stack.enter_async_context(stop_requested())
        broker = await stack.enter_async_context(adapters.open_broker(settings))
        registry = await stack.enter_async_context(adapters.open_registry(settings))
        served = await stack.enter_async_context(coordinator.running(settings, broker=broker, registry=registry))
        await stack.enter_async_context(doctor.warning(settings, documents=False))
        logs.announce(f"serving on {served.address}", settings.log_format, process=settings.process_name)
        await stop.wait()
