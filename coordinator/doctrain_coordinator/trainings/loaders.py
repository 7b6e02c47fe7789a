"""Goes on loading trainings whose documents did not come all at once, this coordinator's and those of dead ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.load_turns import LoadTurn, Rota
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.trainings import endings, storing, unfinished
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.unfinished import Unfinished
from doctrain_mesh import postgres
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import BlobUnavailableError, InvalidRequestError, StoreUnavailableError, UnavailableError
from doctrain_mesh.postgres import OwnConnection, sizes

log = logging.getLogger(__name__)
SCAN_SECONDS = 5.0
RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 300.0
# A load gives its place to one that waits after that long, whatever its source does.
TURN_SECONDS = 10.0
# One of which nothing came for that long rests, though nobody waits.
QUIET_SECONDS = 60.0
IDLE_SECONDS = 30.0
"""A coordinator that freezes keeps its claim for that long."""
LIKELY_DOCUMENTS = 1_000_000
"""Of a manifest whose length is not known."""
NOTHING_LEFT = "Nothing is left to retry: none failed as was asked for, or later trainings have indexed those since, or they were deleted."
# A load is given up after so many tries of this coordinator, and only then by how long nothing came: after all was down for a
# night, the first failure is not the last word.
LEAST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most documents of a training, and how long its source may stay unreadable before the training fails."""

    documents: int
    patience_seconds: float


class Loaders:
    """Runs at most ``sizes.LOADS`` loads, tenants in turn; ``run`` is supervised by the application."""

    def __init__(self, database: Database, locks: ShardLocks, changes: Changes, *, sources: Sources, bounds: Bounds) -> None:
        self._database, self._locks, self._changes = database, locks, changes
        self._sources, self._bounds = sources, bounds
        self._poked = asyncio.Event()
        self._rota = Rota(RETRY_SECONDS, LONGEST_RETRY_SECONDS)

    def poke(self) -> None:
        """There is a training to go on with."""
        self._poked.set()

    async def run(self) -> None:
        """Loads until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for training in await self._next():
                    group.create_task(self._turn(training), name=f"load of training {training}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SCAN_SECONDS):
                        await self._poked.wait()
                self._poked.clear()

    async def _next(self) -> list[int]:
        away = self._rota.away(time.monotonic())
        try:
            async with self._connected() as c:
                waiting = await unfinished.waiting(c, away)
        except StoreUnavailableError as error:
            log.warning("Unfinished loads are looked for again: %s", error)
            return []
        return self._rota.choose(waiting, away, sizes.LOADS)

    async def _turn(self, training: int) -> None:
        try:
            if not await self._load(training):
                self._rota.rest(training, time.monotonic() + SCAN_SECONDS)
        except StoreUnavailableError as error:
            log.warning("Loading training %d goes on in %g s: %s", training, RETRY_SECONDS, error)
            self._rota.rest(training, time.monotonic() + RETRY_SECONDS)
        except UnavailableError as error:
            await self._failed(training, error)
        except Exception as error:  # one tenant's manifest must not end the coordinator of all
            log.exception("Loading training %d met a fault of ours.", training)
            await self._failed(training, UnavailableError(f"The service met a fault while it read it ({type(error).__name__})."))
        finally:
            self._rota.ended(training, time.monotonic())
            self._poked.set()

    async def _failed(self, training: int, error: UnavailableError) -> None:
        failure = self._rota.failed(training, time.monotonic())
        log.warning("Loading training %d goes on in %g s: %s", training, failure.rest_seconds, error)
        patience = self._bounds.patience_seconds
        try:
            if failure.tries >= LEAST_TRIES and await self._silent_seconds(training) > patience:
                hours = patience / 3600
                span = f"{hours:g} hour{'' if hours == 1 else 's'}"
                await self._fail(training, f"Nothing of its manifest could be read for {span}: {error.sentence}")
        except StoreUnavailableError as away:
            log.warning("Training %d is not given up yet: %s", training, away)

    async def _silent_seconds(self, training: int) -> float:
        async with self._connected() as c:
            return await unfinished.silent_seconds(c, training)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[OwnConnection]:
        settings = {
            "application_name": "doctrain loader",
            "idle_session_timeout": f"{IDLE_SECONDS:g}s",
            **postgres.ended_when_frozen(),
        }
        connection = await self._database.connect(settings=settings, command_seconds=storing.COMMIT_SECONDS)
        try:
            yield connection
        finally:
            await postgres.close_connection(connection)

    async def _load(self, training: int) -> bool:
        """Loads for one turn; False when there was nothing to do for this coordinator. The connection holds the claim."""
        async with self._connected() as c:
            claimed = await unfinished.claim(c, training)
            if claimed is None:
                return False
            try:
                return await self._go_on(c, claimed)
            except InvalidRequestError as error:
                await self._fail(training, error.sentence)
                return True

    async def _go_on(self, c: OwnConnection, of: Unfinished) -> bool:
        training, tenant = of.id, of.tenant
        async with postgres.available("counting lanes", c):
            lanes = await storing.count_lanes(c)
        loaded, expected = of.loaded, of.load_count or LIKELY_DOCUMENTS
        turn = LoadTurn(time.monotonic(), TURN_SECONDS, QUIET_SECONDS)
        async with unfinished.remaining(c, of, self._sources) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    await unfinished.keep_claim(c)
                else:
                    self._check(of, loaded, chunk)
                    if not await storing.extend(c, training, tenant, loaded=loaded, expected=expected, lanes=lanes, chunk=chunk):
                        return False
                    loaded += chunk.count
                    if chunk.goes_on:
                        self._rota.went_on(training)
                        self._tell(training)
                        turn.went_on(time.monotonic())
                    if chunk.last:
                        return True
                if turn.over(time.monotonic(), crowded=self._rota.crowded):
                    break
        if turn.fruitless:
            raise BlobUnavailableError(f"No document of it came within {time.monotonic() - turn.began:.0f} s.")
        return True

    def _check(self, of: Unfinished, loaded: int, chunk: Chunk) -> None:
        if chunk.last and not loaded + chunk.count:
            raise InvalidRequestError(NOTHING_LEFT if chunk.copied is not None else "The manifest holds no documents.")
        if loaded + chunk.count > self._bounds.documents:
            raise InvalidRequestError(f"The manifest has more than {self._bounds.documents:,} documents; split it.")
        if of.training_documents and loaded + chunk.count > of.training_documents:
            raise InvalidRequestError(f"The tenant's plan allows {of.training_documents:,} documents in one training; split the manifest.")

    async def _fail(self, training: int, reason: str) -> None:
        await endings.end_early(self._locks, training, TrainingState.FAILED, reason)
        self._tell(training)

    def _tell(self, training: int) -> None:
        self._changes.trainings([training])
        self._changes.work()
