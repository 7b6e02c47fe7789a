"""Keeps the index of one model's vectors in Postgres: an HNSW graph over the chunks that were embedded with it.

Each model has one of its own, so that its vectors have their length and meet no others. The first coordinator that runs
with a model makes it, beside the work that goes on; until it is there, searches look at every chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging

from doctrain_coordinator.search.query_model import QueryModel
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.store.database import Database
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import statements
from doctrain_mesh.supervise import forever

SQL = statements.of(__name__, AdvisoryLock)
MOST_DIMENSIONS = 4000
"""Of pgvector; a model with more is searched without an index."""
MAKING_SECONDS = 12 * 3600.0
LOOK_SECONDS = 600.0
RETRY_SECONDS = 30.0

log = logging.getLogger(__name__)


def index_name(model: str) -> str:
    """The index of a model's vectors."""
    return f"chunk_near_{hashlib.sha256(model.encode()).hexdigest()[:16]}"


class VectorIndex:
    """The index of the model that queries are embedded with."""

    def __init__(self, database: Database, model: QueryModel) -> None:
        self._database, self._model = database, model

    async def run(self) -> None:
        """Until cancelled."""
        await forever("making the index of vectors", self._look, expected=UnavailableError, retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        embedder = await self._model.opened()
        if embedder.dimensions <= MOST_DIMENSIONS:
            await self._make(embedder.name, embedder.dimensions)
        await asyncio.sleep(LOOK_SECONDS)

    async def _make(self, model: str, dimensions: int) -> None:
        index = index_name(model)
        connection = await self._database.connect(command_seconds=MAKING_SECONDS)
        try:
            async with postgres.available("making the index of vectors", connection):
                if await connection.fetchval(SQL["is_valid"], index) or not await connection.fetchval(SQL["try_lock"], index):
                    return
                if (valid := await connection.fetchval(SQL["is_valid"], index)) is False:
                    await connection.execute(await connection.fetchval(SQL["drop"], index))
                if not valid:
                    await connection.execute(await connection.fetchval(SQL["create"], index, dimensions, model))
                    log.info("The vectors of %s have an index now.", model)
        finally:
            await postgres.close_connection(connection)
