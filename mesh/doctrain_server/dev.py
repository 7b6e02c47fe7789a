"""``doctrain dev``: the embedded mesh until it is stopped, and what to do with it."""

from __future__ import annotations

from pathlib import Path

import click

from doctrain_mesh import telemetry
from doctrain_mesh.settings import Settings
from doctrain_server.embedded import embedded_mesh
from doctrain_server.processes import stop_requested

_WELCOME = """\
doctrain is running on {address}; its data is in {folder}.

In another terminal, in this folder:
  doctrain train FOLDER --watch     train a folder of documents
  doctrain list                     what was trained
  doctrain workers                  who works
The keys are in {profile}; elsewhere: export DOCTRAIN_PROFILE={profile}

Ctrl-C stops it."""


async def run_dev(settings: Settings, folder: Path, workers: int) -> None:
    """Runs until it is told to stop."""
    telemetry.configure_logging("WARNING" if settings.log_level == "INFO" else settings.log_level, settings.log_format)
    with telemetry.exporting(settings.otlp_endpoint, service="doctrain-dev", instance=settings.process_name):
        async with stop_requested() as stop, embedded_mesh(folder, settings, workers=workers) as mesh:
            click.echo(_WELCOME.format(address=mesh.address, folder=folder, profile=mesh.profile))
            await stop.wait()
            click.echo("Stopping.")
