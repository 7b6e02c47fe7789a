"""A coordinator as a process of its own."""

from __future__ import annotations

from contextlib import AsyncExitStack

from doctrain_coordinator import app as coordinator
from doctrain_mesh import open_files
from doctrain_mesh.observability import logs, metrics_endpoint, telemetry
from doctrain_mesh.settings import Settings
from doctrain_server import adapters, required
from doctrain_server.doctor.warning import warning
from doctrain_server.services.signals import stop_requested


async def run_coordinator(settings: Settings) -> None:
    """Serves until it is told to stop, then drains within ``drain_seconds``."""
    logs.configure(settings.log_level, settings.log_format, libraries=settings.dependency_log_level, process=settings.process_name)
    open_files.take_all()
    required.check_coordinator(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.exporting(settings.otlp_endpoint, service="doctrain-coordinator", instance=settings.process_name))
        metered = metrics_endpoint.serving(settings.metrics_listen, service="doctrain-coordinator", instance=settings.process_name)
        await stack.enter_async_context(metered)
        stop = await stack.enter_async_context(stop_requested())
        broker = await stack.enter_async_context(adapters.open_broker(settings))
        registry = await stack.enter_async_context(adapters.open_registry(settings))
        served = await stack.enter_async_context(coordinator.running(settings, broker=broker, registry=registry))
        await stack.enter_async_context(warning(settings, documents=False))
        logs.announce(f"serving on {served.address}", settings.log_format, process=settings.process_name)
        await stop.wait()
