"""``doctrain dev``: the embedded mesh until it is stopped, and what to do with it."""

from __future__ import annotations

import shlex
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from doctrain.cli.connection import DEFAULT_PROFILE
from doctrain_mesh import open_files
from doctrain_mesh.observability import logs, metrics_endpoint, telemetry
from doctrain_mesh.settings import Settings
from doctrain_server.dev.embedded import embedded_mesh
from doctrain_server.services.signals import StoppedError, stop_requested, unless_stopped

NAME = "doctrain-dev"
_WELCOME = """\
doctrain is running on {address}; its data is in {folder}.
{dashboard}{metrics}

In another terminal{where}
  doctrain train FOLDER --watch     train a folder of documents
  doctrain search WORDS             find what was trained
  doctrain list                     the trainings
  doctrain workers                  who works
The keys are in {profile}{elsewhere}

Ctrl-C stops it."""


async def run_dev(settings: Settings, folder: Path, workers: int) -> None:
    """Runs until it is told to stop, also while it still starts."""
    logs.configure(settings.log_level, settings.log_format, libraries=settings.dependency_log_level, process=NAME)
    open_files.take_all()

    def tell(sentence: str) -> None:
        with suppress(BrokenPipeError):  # whoever read it has gone; that ends no mesh
            logs.announce(sentence, settings.log_format, process=NAME)

    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.exporting(settings.otlp_endpoint, service=NAME, instance=settings.process_name))
        metered = metrics_endpoint.serving(settings.metrics_listen, service=NAME, instance=settings.process_name)
        measured = await stack.enter_async_context(metered)
        stop = await stack.enter_async_context(stop_requested())
        try:
            async with unless_stopped(stop):
                tell(f"Starting on {folder} ...")
                mesh = await stack.enter_async_context(embedded_mesh(folder, settings, workers=workers, tell=tell))
        except StoppedError:
            tell("Stopped before it was up.")
            return
        dashboard = f"Its dashboard is {mesh.dashboard} (sign in with a key from {mesh.profile}).\n" if mesh.dashboard else ""
        metrics = f"Its metrics are at {measured}.\n" if measured else ""
        told = _how_to_find(mesh.profile)
        tell(_WELCOME.format(address=mesh.address, dashboard=dashboard, metrics=metrics, folder=folder, profile=mesh.profile, **told))
        await stop.wait()
        tell("Stopping; Ctrl-C again does not wait.")
    tell(f"Stopped; its data is kept in {folder}.")


def _how_to_find(profile: Path) -> dict[str, str]:
    """The command line finds the profile of the default folder by itself, where that is; any other is to be named."""
    export = f"export DOCTRAIN_PROFILE={shlex.quote(str(profile))}"
    if profile == DEFAULT_PROFILE.resolve():
        return {"where": ", in this folder:", "elsewhere": f"; elsewhere: {export}"}
    return {"where": f":\n  {export}", "elsewhere": ""}
