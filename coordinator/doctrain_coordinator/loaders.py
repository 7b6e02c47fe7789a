"""Goes on loading trainings whose documents did not come all at once, this coordinator's and those of dead ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from doctrain_coordinator import endings, loading
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.loading import CHUNK, Piece
from doctrain_coordinator.manifests import ManifestReader
from doctrain_coordinator.store import statements
from doctrain_mesh import postgres
from doctrain_mesh.blobs import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.errors import DoctrainError, InvalidRequestError, StoreUnavailableError, UnavailableError
from doctrain_mesh.postgres import Record
from doctrain_mesh.sources import Sources
from doctrain_mesh.uris import UriRules

log = logging.getLogger(__name__)
SQL = statements.load("loading")
SCAN_SECONDS = 5.0
RETRY_SECONDS = 2.0
AT_ONCE = 2


class Loaders:
    """Runs at most ``AT_ONCE`` loads; ``run`` is supervised by the application."""

    def __init__(self, database_url: str, sources: Sources, uris: UriRules, changes: Changes, most_documents: int) -> None:
        self._url, self._sources, self._uris, self._changes = database_url, sources, uris, changes
        self._most = most_documents
        self._poked = asyncio.Event()
        self._active: set[int] = set()

    def poke(self) -> None:
        """There is a training to go on with."""
        self._poked.set()

    async def run(self) -> None:
        """Loads until cancelled."""
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                for training in await self._unsealed():
                    if training not in self._active:
                        self._active.add(training)
                        group.create_task(self._load(training, gate), name=f"load of training {training}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SCAN_SECONDS):
                        await self._poked.wait()
                self._poked.clear()

    async def _unsealed(self) -> list[int]:
        try:
            connection = await self._connect()
            try:
                async with postgres.available("looking for trainings to load"):
                    return [row["id"] for row in await connection.fetch(SQL["unsealed"])]
            finally:
                await postgres.close_connection(connection)
        except StoreUnavailableError as error:
            log.warning("Unfinished loads are looked for again: %s", error)
            return []

    async def _load(self, training: int, gate: asyncio.Semaphore) -> None:
        try:
            async with gate:
                await self._load_alone(training)
        except UnavailableError as error:
            log.warning("Loading training %d goes on in %g s: %s", training, RETRY_SECONDS, error)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._active.discard(training)

    async def _connect(self) -> Any:
        settings = {"application_name": "doctrain loader", "idle_session_timeout": "120s", "idle_in_transaction_session_timeout": "30s"}
        return await postgres.connect(self._url, settings=settings, command_seconds=loading.COMMIT_SECONDS)

    async def _load_alone(self, training: int) -> None:
        connection = await self._connect()
        try:
            async with postgres.available("taking up a load"):
                if not await connection.fetchval(SQL["try_load"], training):
                    return
                row = await connection.fetchrow(SQL["one_unsealed"], training)
            if row is None:
                return
            try:
                await self._pieces_of(connection, row)
            except InvalidRequestError as error:
                await self._fail(connection, training, error)
        finally:
            await postgres.close_connection(connection)

    async def _pieces_of(self, connection: Any, row: Record) -> None:
        async with postgres.available("counting lanes"):
            lanes = await connection.fetchval(SQL["lanes"])
        loaded, expected = row["loaded"], row["load_count"] or 1_000_000
        async with self._source(row) as pieces:
            async for piece in pieces:
                if loaded + piece.count > self._most:
                    raise InvalidRequestError(f"The manifest has more than {self._most:,} documents; split it.")
                training, tenant = row["id"], row["tenant"]
                if not await loading.extend(connection, training, tenant, loaded=loaded, expected=expected, lanes=lanes, piece=piece):
                    return
                loaded += piece.count
                self._changes.trainings([row["id"]])
                self._changes.work()

    @contextlib.asynccontextmanager
    async def _source(self, row: Record) -> AsyncIterator[AsyncIterator[Piece]]:
        if row["manifest_uri"] is None:
            yield _numbered(row["loaded"], row["load_count"])
            return
        try:
            async with self._sources.open_ranged(row["tenant_id"], row["manifest_uri"], row["load_offset"]) as opened:
                if opened.etag != row["load_etag"]:
                    raise InvalidRequestError("The manifest was changed while it was being read; start a training of the new one.")
                reader = ManifestReader(opened.pieces, self._uris, offset=row["load_offset"], lines=row["load_lines"])
                yield _chunks(reader)
        except (BlobNotFoundError, BlobForbiddenError) as error:
            raise InvalidRequestError(f"The manifest can no longer be read: {error}") from error

    async def _fail(self, connection: Any, training: int, error: DoctrainError) -> None:
        log.info("Training %d ends: %s", training, error)
        async with postgres.available("ending a training"), connection.transaction():
            await endings.end_early(connection, training, TrainingState.FAILED, error.sentence)
        self._changes.trainings([training])
        self._changes.work()


async def _numbered(loaded: int, count: int) -> AsyncIterator[Piece]:
    while loaded < count:
        size = min(CHUNK, count - loaded)
        loaded += size
        yield Piece(size, (), (), loaded, 0, loaded == count)


async def _chunks(reader: ManifestReader) -> AsyncIterator[Piece]:
    last = False
    while not last:
        chunk = await reader.next_chunk(CHUNK)
        last = chunk.last
        yield Piece(len(chunk.rows), chunk.rows, chunk.line_of, chunk.offset, chunk.lines, last)
