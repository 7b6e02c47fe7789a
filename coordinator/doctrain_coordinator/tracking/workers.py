"""Workers as their sessions tell of them."""

from __future__ import annotations

from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, Record, statements

SQL = statements.of(__name__, SessionState, ShardState)
READ_SECONDS = 10.0


async def live_workers(pool: Pool) -> list[Record]:
    """A row for each live session, with what it holds and for how many seconds it has been silent. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, "listing workers", seconds=READ_SECONDS) as c:
        return list(await c.fetch(SQL["workers"]))
