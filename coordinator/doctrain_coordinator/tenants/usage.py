"""What each tenant used, by day of UTC: counted from shards that have ended, beside the commits that record results (docs/adr/0024).

A shard's documents change no more once it has ended. Each shard is counted in one transaction that also marks it as counted, so it is
counted once, whichever coordinator does it and whatever dies. Coordinators leave each other's shards alone, and none waits for a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from doctrain_coordinator.core.states import DocumentState, ShardState
from doctrain_coordinator.store import tenant_rows
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Connection, Pool, statements
from doctrain_mesh.stages import WAIT
from doctrain_mesh.supervise import forever

SQL = statements.of(__name__, DocumentState, ShardState)
COUNT_SECONDS = 60.0
SHARDS_AT_ONCE = 16
LOOK_SECONDS = 2.0
PAUSE_SECONDS = 0.02
"""Between two batches: what is to be recorded goes first."""
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Day:
    """What a tenant used on a day; ``stages`` are milliseconds by name."""

    day: date
    trained: int
    unchanged: int
    failed: int
    pages: int
    bytes: int
    stages: Mapping[str, int]


class Usage:
    """Counts, and answers what was counted."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, tenant: int, first: date, last: date) -> list[Day]:
        """The days from ``first`` to ``last`` on which anything was used. Raises StoreUnavailableError."""
        async with tenant_rows.acquired(self._pool, tenant, "reading usage") as c:
            days = await c.fetch(SQL["read_days"], tenant, first, last)
            stages: dict[date, dict[str, int]] = {}
            for row in await c.fetch(SQL["read_stages"], tenant, first, last):
                stages.setdefault(row["day"], {})[row["stage"]] = row["took_ms"]
        return [Day(**row, stages=stages.get(row["day"], {})) for row in days]

    async def run(self) -> None:
        """Counts until cancelled."""
        await forever("counting usage", self._look, expected=UnavailableError, retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        more = await self._count()
        await asyncio.sleep(PAUSE_SECONDS if more else LOOK_SECONDS)

    async def _count(self) -> bool:
        """Counts some shards; whether there may be more."""
        async with postgres.acquired(self._pool, "counting usage", seconds=COUNT_SECONDS) as c, c.transaction():
            shards = [row["id"] for row in await c.fetch(SQL["ended_shards"], SHARDS_AT_ONCE)]
            if shards:
                await _count(c, shards)
        return len(shards) == SHARDS_AT_ONCE


async def _count(c: Connection, shards: Sequence[int]) -> None:
    """Counts all at once; where Postgres refuses what is stored of their stages, each alone, and the one at fault without them."""
    try:
        async with c.transaction():
            await c.execute(SQL["count"], shards, True, WAIT)
    except postgres.DataError as error:
        if len(shards) > 1:
            for shard in shards:
                await _count(c, [shard])
            return
        log.warning("The stages of shard %d cannot be counted, and its documents count without them: %s", shards[0], error)
        await c.execute(SQL["count"], shards, False, WAIT)
