"""Removes trainings that have ended: the training first, so that nobody finds half of one, then its documents in batches.

What is half removed stands in a table of its own, until nothing of it is left: whoever removes next goes on with it. What a training
put into the index stays there.
"""

from __future__ import annotations

import asyncio
import logging

from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_mesh.postgres import Connections, statements

SQL = statements.of(__name__, ShardState, TrainingState)
TRAININGS_AT_ONCE = 50
DOCUMENTS_AT_ONCE = 5_000
PAUSE_SECONDS = 0.05
"""Between two batches: who serves goes first."""

log = logging.getLogger(__name__)


async def remove_old(connections: Connections, days: float) -> None:
    """Removes those that ended more than ``days`` ago."""
    count, more = 0, True
    while more:
        async with connections() as c:
            old = [row["id"] for row in await c.fetch(SQL["old"], days, TRAININGS_AT_ONCE)]
        removed = [training for training in old if await remove(connections, training)]
        await finish(connections)
        count, more = count + len(removed), bool(removed)
    if count:
        log.info("%d trainings that ended more than %g days ago were removed.", count, days)


async def remove(connections: Connections, training: int) -> bool:
    """Takes one away from those who look; ``finish`` does the rest. False while something of it runs, or a retry is loaded from it."""
    async with connections() as c, c.transaction():
        await c.execute(SQL["lock"], training)
        return await c.fetchval(SQL["remove"], training) is not None


async def finish(connections: Connections) -> None:
    """Removes the documents and shards of all that are half removed."""
    while half_removed := await _half_removed(connections):
        for training, documents in half_removed:
            for first in range(0, documents, DOCUMENTS_AT_ONCE):
                async with connections() as c:
                    await c.execute(SQL["remove_documents"], training, first, first + DOCUMENTS_AT_ONCE - 1)
                await asyncio.sleep(PAUSE_SECONDS)
            async with connections() as c, c.transaction():
                await c.execute(SQL["remove_shards"], training)
                await c.execute(SQL["finish"], training)


async def _half_removed(connections: Connections) -> list[tuple[int, int]]:
    async with connections() as c:
        return [(row["id"], row["documents"]) for row in await c.fetch(SQL["half_removed"], TRAININGS_AT_ONCE)]
