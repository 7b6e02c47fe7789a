"""``doctrain dev``: the embedded mesh until it is stopped, and what to do with it."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

import click

from doctrain_mesh import logs, telemetry
from doctrain_mesh.settings import Settings
from doctrain_server.embedded import embedded_mesh
from doctrain_server.processes import StoppedError, stop_requested, unless_stopped

_WELCOME = """\
doctrain is running on {address}; its data is in {folder}.

In another terminal, in this folder:
  doctrain train FOLDER --watch     train a folder of documents
  doctrain search WORDS             find what was trained
  doctrain list                     the trainings
  doctrain workers                  who works
The keys are in {profile}; elsewhere: export DOCTRAIN_PROFILE={profile}

Ctrl-C stops it."""


async def run_dev(settings: Settings, folder: Path, workers: int) -> None:
    """Runs until it is told to stop, also while it still starts."""
    logs.configure(settings.log_level, settings.log_format, libraries=settings.library_log_level, process="doctrain-dev")
    async with AsyncExitStack() as stack:
        stack.enter_context(telemetry.exporting(settings.otlp_endpoint, service="doctrain-dev", instance=settings.process_name))
        stop = await stack.enter_async_context(stop_requested())
        try:
            async with unless_stopped(stop):
                _tell(f"Starting on {folder} ...")
                mesh = await stack.enter_async_context(embedded_mesh(folder, settings, workers=workers, tell=_tell))
        except StoppedError:
            _tell("Stopped before it was up.")
            return
        _tell(_WELCOME.format(address=mesh.address, folder=folder, profile=mesh.profile))
        await stop.wait()
        _tell("Stopping; Ctrl-C again does not wait.")


def _tell(sentence: str) -> None:
    with suppress(BrokenPipeError):  # whoever read it has gone; that ends no mesh
        click.echo(sentence)
