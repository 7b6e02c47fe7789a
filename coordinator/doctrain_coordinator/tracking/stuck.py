"""Ends index transactions that stand in the way of a take-back.

A worker that was frozen, or lost its power, within the transaction that writes a document's index rows keeps its shard's row
locked (KEY SHARE) for as long as Postgres keeps its connection: no timeout of Postgres's ends a COPY whose client is silent.
Its session is lost by then, so nothing that it still writes counts: its connection is ended, and the lock with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Connection, Pool, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__)
PATIENCE_SECONDS = 0.5
WATCH_SECONDS = 5.0


@asynccontextmanager
async def unblocked(pool: Pool, connection: Connection) -> AsyncIterator[None]:
    """While open, whatever worker's transaction ``connection`` waits for longer than a moment is ended."""
    watching = asyncio.create_task(_watch(pool, connection.get_server_pid()), name="stuck index transactions")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    if not watching.cancelled():
        watching.result()  # it runs until it is cancelled, so this raises what ended it


async def _watch(pool: Pool, waiting: int) -> None:
    while True:
        await asyncio.sleep(PATIENCE_SECONDS)
        try:
            async with postgres.acquired(pool, "ending stuck index transactions", seconds=WATCH_SECONDS) as c:
                ended = await c.fetch(SQL["end_blocking_workers"], waiting)
        except StoreUnavailableError as error:
            log.warning("Stuck index transactions are looked for again: %s", error)
            continue
        if ended:
            log.warning("%d connections of workers held rows of a lost session and were ended.", len(ended))
