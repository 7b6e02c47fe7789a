"""Removes trainings that have ended: the training first, so that nobody finds half of one, then its documents in batches.

What is half removed stands in a table of its own, until nothing of it is left: whoever removes next goes on with it. What a training
put into the index stays there.
"""

from __future__ import annotations

import asyncio

from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_mesh.postgres import OwnConnection, statements

SQL = statements.of(__name__, ShardState, TrainingState)
TRAININGS_AT_ONCE = 50
DOCUMENTS_AT_ONCE = 5_000
PAUSE_SECONDS = 0.05
"""Between two batches: who serves goes first."""


async def remove_old(c: OwnConnection, days: float) -> int:
    """Removes those that ended more than ``days`` ago; answers how many."""
    count = 0
    while True:
        removed = [row["id"] for row in await c.fetch(SQL["old"], days, TRAININGS_AT_ONCE) if await remove(c, row["id"])]
        await finish(c)
        count += len(removed)
        if not removed:
            return count


async def remove(c: OwnConnection, training: int) -> bool:
    """Takes one away from those who look; ``finish`` does the rest. False while something of it runs, or a retry is loaded from it."""
    async with c.transaction():
        await c.execute(SQL["lock"], training)
        return await c.fetchval(SQL["remove"], training) is not None


async def finish(c: OwnConnection) -> None:
    """Removes the documents and shards of all that are half removed."""
    while half_removed := await c.fetch(SQL["half_removed"], TRAININGS_AT_ONCE):
        for row in half_removed:
            for first in range(0, row["documents"], DOCUMENTS_AT_ONCE):
                await c.execute(SQL["remove_documents"], row["id"], first, first + DOCUMENTS_AT_ONCE - 1)
                await asyncio.sleep(PAUSE_SECONDS)
            async with c.transaction():
                await c.execute(SQL["remove_shards"], row["id"])
                await c.execute(SQL["finish"], row["id"])
