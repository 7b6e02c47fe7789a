"""What the doctor looks at where a `doctrain dev` runs, or nothing is set."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from doctrain_mesh.settings import Settings
from doctrain_server.dev.folder import holder, kept_keys
from doctrain_server.dev.postgres import url_of_running
from doctrain_server.doctor.examination import examine, examine_sandbox
from doctrain_server.doctor.finding import Finding, Verdict

NOTHING = (
    "There is none to look at: no `doctrain dev` runs on {folder}, and DOCTRAIN_DATABASE_URL is not set. "
    "Start one (doctrain dev), or set what docs/howto/run-a-mesh.md names."
)


async def examine_dev(folder: Path, settings: Settings) -> list[Finding]:
    """The mesh that `doctrain dev` runs on the folder, else what the settings say."""
    if settings.database_url:
        return await examine(settings)
    running = await asyncio.to_thread(holder, folder)
    if running is None:
        return [examine_sandbox(settings), Finding("mesh", Verdict.BAD, NOTHING.format(folder=folder))]
    found = [Finding("dev", Verdict.OK, f"{running.describe()} ({folder}); this is what is looked at.")]
    if not running.address:
        return [*found, Finding("dev", Verdict.BAD, "It still starts; ask again in some seconds.")]
    look = dataclasses.replace(
        settings,
        database_url=await asyncio.to_thread(url_of_running, folder / "postgres"),
        blob_url=settings.blob_url or (folder / "blobs").absolute().as_uri(),
        listen=running.address,
        coordinators=running.address,
        worker_key=(await asyncio.to_thread(kept_keys, folder)).get("worker_key", ""),
    )
    return found + await examine(look, alone=True)
