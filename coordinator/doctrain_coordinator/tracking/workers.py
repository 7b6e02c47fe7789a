"""Workers as their sessions tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, SessionState, ShardState)
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A live session, with what it holds and for how many seconds it has been silent.

    ``newest``: of its worker's sessions, so its present boot; ``gone``: it was seen to be lost and is not taken back yet.
    """

    id: int
    worker_id: str
    lanes: int
    draining: bool
    opened_at: datetime
    version: str
    newest: bool
    silence: float
    gone: bool
    shards: int
    slots: int


async def live_workers(pool: Pool) -> list[LiveSession]:
    """All of them, by worker. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, "listing workers", seconds=READ_SECONDS) as c:
        return [LiveSession(**row) for row in await c.fetch(SQL["workers"])]
