"""Numbers of sessions that are not given out twice, even if Postgres is restored to an earlier state.

A worker may still be at work in a session that was opened after that state. Every coordinator ends when it notices a restore
(``store.database``), and where one starts the numbers go on from the time, in seconds, which has passed since.
"""

from __future__ import annotations

from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__)
SECONDS = 10.0


async def go_on_from_now(pool: Pool) -> None:
    """Once a start, before a session is opened. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, "starting with sessions", seconds=SECONDS) as c, c.transaction():
        await c.execute(SQL["lock"])
        await c.execute(SQL["raise"])
