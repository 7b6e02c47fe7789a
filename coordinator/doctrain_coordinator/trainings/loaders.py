"""Goes on loading trainings whose documents did not come all at once, this coordinator's and those of dead ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core import turns
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store import statements
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.trainings import endings, failed_documents, storing
from doctrain_coordinator.trainings.failed_documents import Failed
from doctrain_coordinator.trainings.manifests import ManifestReader
from doctrain_coordinator.trainings.storing import CHUNK, CHUNK_SECONDS, Piece
from doctrain_mesh import postgres
from doctrain_mesh.blob_errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.errors import BlobUnavailableError, InvalidRequestError, StoreUnavailableError, UnavailableError
from doctrain_mesh.postgres import OwnConnection, Record
from doctrain_mesh.sources import Sources
from doctrain_mesh.uris import UriRules

log = logging.getLogger(__name__)
SQL = statements.load("loading")
SCAN_SECONDS = 5.0
RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 300.0
AT_ONCE = 4
# A load gives its place to one that waits after that long, whatever its source does.
TURN_SECONDS = 10.0
# One of which nothing came for that long rests, though nobody waits.
QUIET_SECONDS = 60.0
IDLE_SECONDS = 30.0
"""A coordinator that freezes keeps its claim for that long."""
NOTHING_LEFT = "Nothing is left to retry: none failed as was asked for, or later trainings have indexed those since, or they were deleted."
# A load is given up after so many tries of this coordinator, and only then by how long nothing came: after all was down for a
# night, the first failure is not the last word.
LEAST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most documents of a training, and how long its source may stay unreadable before the training fails."""

    documents: int
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Failures in a row of one load, and when it may have a turn again, on this process's monotonic clock."""

    tries: int
    until: float


class Loaders:
    """Runs at most ``AT_ONCE`` loads, tenants in turn; ``run`` is supervised by the application."""

    def __init__(self, database_url: str, locks: ShardLocks, changes: Changes, *, sources: Sources, uris: UriRules, bounds: Bounds) -> None:
        self._url, self._locks, self._changes = database_url, locks, changes
        self._sources, self._uris, self._bounds = sources, uris, bounds
        self._poked = asyncio.Event()
        self._loading: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._trouble: dict[int, _Trouble] = {}
        self._crowded = False

    def poke(self) -> None:
        """There is a training to go on with."""
        self._poked.set()

    async def run(self) -> None:
        """Loads until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for training, tenant in await self._next():
                    self._loading[training] = tenant
                    group.create_task(self._turn(training), name=f"load of training {training}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SCAN_SECONDS):
                        await self._poked.wait()
                self._poked.clear()

    async def _next(self) -> list[tuple[int, int]]:
        now = time.monotonic()
        not_now = {training for training, trouble in self._trouble.items() if trouble.until > now} | self._loading.keys()
        waiting = await self._unsealed(list(not_now))
        known = {training for training, _ in waiting} | not_now
        self._last = {training: at for training, at in self._last.items() if training in known}
        self._trouble = {training: trouble for training, trouble in self._trouble.items() if training in known}
        chosen = turns.choose(waiting, list(self._loading.values()), self._last, AT_ONCE - len(self._loading))
        self._crowded = len(waiting) > len(chosen)
        return chosen

    async def _unsealed(self, but: list[int]) -> list[tuple[int, int]]:
        try:
            connection = await self._connect()
            try:
                async with postgres.available("looking for trainings to load"):
                    return [(row["id"], row["tenant"]) for row in await connection.fetch(SQL["unsealed"], but)]
            finally:
                await postgres.close_connection(connection)
        except StoreUnavailableError as error:
            log.warning("Unfinished loads are looked for again: %s", error)
            return []

    async def _turn(self, training: int) -> None:
        try:
            if not await self._load(training):
                self._rest(training, SCAN_SECONDS)
        except StoreUnavailableError as error:
            log.warning("Loading training %d goes on in %g s: %s", training, RETRY_SECONDS, error)
            self._rest(training, RETRY_SECONDS)
        except UnavailableError as error:
            await self._failed(training, error)
        except Exception as error:  # one tenant's manifest must not end the coordinator of all
            log.exception("Loading training %d met a fault of ours.", training)
            await self._failed(training, UnavailableError(f"The service met a fault while it read it ({type(error).__name__})."))
        finally:
            del self._loading[training]
            self._last[training] = time.monotonic()
            self._poked.set()

    def _rest(self, training: int, seconds: float, *, tries: int | None = None) -> None:
        before = self._trouble.get(training)
        counted = tries if tries is not None else before.tries if before is not None else 0
        self._trouble[training] = _Trouble(counted, time.monotonic() + seconds)

    async def _failed(self, training: int, error: UnavailableError) -> None:
        patience = self._bounds.patience_seconds
        before = self._trouble.get(training)
        tries = before.tries + 1 if before is not None else 1
        pause = min(RETRY_SECONDS * 2 ** min(tries - 1, 20), LONGEST_RETRY_SECONDS)
        self._rest(training, pause, tries=tries)
        log.warning("Loading training %d goes on in %g s: %s", training, pause, error)
        try:
            if tries >= LEAST_TRIES and await self._silent_seconds(training) > patience:
                hours = patience / 3600
                span = f"{hours:g} hour{'' if hours == 1 else 's'}"
                await self._fail(training, f"Nothing of its manifest could be read for {span}: {error.sentence}")
        except StoreUnavailableError as away:
            log.warning("Training %d is not given up yet: %s", training, away)

    async def _silent_seconds(self, training: int) -> float:
        connection = await self._connect()
        try:
            async with postgres.available("looking at a load"):
                return float(await connection.fetchval(SQL["silent_seconds"], training) or 0.0)
        finally:
            await postgres.close_connection(connection)

    async def _connect(self) -> OwnConnection:
        settings = {
            "application_name": "doctrain loader",
            "idle_session_timeout": f"{IDLE_SECONDS:g}s",
            **postgres.ended_when_frozen(),
        }
        return await postgres.connect(self._url, settings=settings, command_seconds=storing.COMMIT_SECONDS)

    async def _load(self, training: int) -> bool:
        """One turn; False when there was nothing to do for this coordinator. The connection holds the claim."""
        connection = await self._connect()
        try:
            async with postgres.available("taking up a load"):
                if not await connection.fetchval(SQL["try_load"], training):
                    return False
                row = await connection.fetchrow(SQL["one_unsealed"], training)
            if row is None:
                return False
            try:
                return await self._go_on(connection, row)
            except InvalidRequestError as error:
                await self._fail(training, error.sentence)
                return True
        finally:
            await postgres.close_connection(connection)

    async def _go_on(self, connection: OwnConnection, row: Record) -> bool:
        training, tenant = row["id"], row["tenant"]
        async with postgres.available("counting lanes"):
            lanes = await connection.fetchval(SQL["lanes"])
        loaded, expected = row["loaded"], row["load_count"] or 1_000_000
        turn = turns.Turn(time.monotonic(), TURN_SECONDS, QUIET_SECONDS)
        async with self._source(connection, row) as pieces:
            async for piece in pieces:
                if piece is None:
                    async with postgres.available("keeping a load's claim"):
                        await connection.execute("select 1")
                    if turn.over(time.monotonic(), crowded=self._crowded):
                        break
                    continue
                if piece.last and not loaded + piece.count:
                    raise InvalidRequestError(NOTHING_LEFT if piece.copied is not None else "The manifest holds no documents.")
                if loaded + piece.count > self._bounds.documents:
                    raise InvalidRequestError(f"The manifest has more than {self._bounds.documents:,} documents; split it.")
                if not await storing.extend(connection, training, tenant, loaded=loaded, expected=expected, lanes=lanes, piece=piece):
                    return False
                loaded += piece.count
                self._trouble.pop(training, None)
                self._changes.trainings([training])
                self._changes.work()
                turn.went_on(time.monotonic())
                if piece.last:
                    return True
                if turn.over(turn.fed, crowded=self._crowded):
                    break
        if turn.fruitless:
            raise BlobUnavailableError(f"No document of it came within {time.monotonic() - turn.began:.0f} s.")
        return True

    @contextlib.asynccontextmanager
    async def _source(self, connection: OwnConnection, row: Record) -> AsyncIterator[AsyncIterator[Piece | None]]:
        """The pieces that are left; None among them: nothing came for a while."""
        if row["load_source"] is not None:
            failed = Failed(row["load_source"], row["load_classes"])
            yield failed_documents.pieces(connection, failed, row["load_offset"])
            return
        if row["manifest_uri"] is None:
            yield _numbered(row["loaded"], row["load_count"])
            return
        try:
            async with self._sources.open_ranged(row["tenant_id"], row["manifest_uri"], row["load_offset"]) as opened:
                if opened.etag != row["load_etag"]:
                    raise InvalidRequestError("The manifest was changed while it was being read; start a training of the new one.")
                reader = ManifestReader(opened.pieces, self._uris, offset=row["load_offset"], lines=row["load_lines"])
                async with contextlib.aclosing(reader):
                    yield _chunks(reader)
        except (BlobNotFoundError, BlobForbiddenError) as error:
            raise InvalidRequestError(f"The manifest can no longer be read: {error}") from error

    async def _fail(self, training: int, reason: str) -> None:
        await endings.end_early(self._locks, training, TrainingState.FAILED, reason)
        self._changes.trainings([training])
        self._changes.work()


async def _numbered(loaded: int, count: int) -> AsyncIterator[Piece]:
    while loaded < count:
        size = min(CHUNK, count - loaded)
        loaded += size
        yield Piece(size, (), (), loaded, 0, loaded == count)


async def _chunks(reader: ManifestReader) -> AsyncIterator[Piece | None]:
    last = False
    while not last:
        chunk = await reader.next_chunk(CHUNK, CHUNK_SECONDS)
        last = chunk.last
        if chunk.rows or last:
            yield Piece(len(chunk.rows), chunk.rows, chunk.line_of, chunk.offset, chunk.lines, last)
        else:
            yield None
