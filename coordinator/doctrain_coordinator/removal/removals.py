"""Looks for what is to be removed. One coordinator does, on a connection of its own, away from those who serve, as long as that lives.

All that is done may be done twice, so two that both think they are the one do no harm. Each step, and each tenant, fails alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from doctrain_coordinator import metrics
from doctrain_coordinator.removal import trainings, uploads
from doctrain_coordinator.removal.lock import ping
from doctrain_coordinator.removal.tenants import TenantRemoval
from doctrain_coordinator.removal.tries import Step, Tries
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tenants import audit
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Connections, statements
from doctrain_mesh.supervise import forever

SQL = statements.of(__name__, AdvisoryLock)
LOOK_SECONDS = 2.0
RETENTION_SECONDS = 3600.0
"""How often it is looked for what is too old, or broke off."""
ARTIFACTS_SECONDS = 6 * 3600.0
"""How often for old artifacts, for which all artifacts are listed."""
RETRY_SECONDS = 10.0
"""How soon it is looked again whether another coordinator still removes."""
STATEMENT_SECONDS = 300.0
IDLE_SECONDS = 120.0
"""A coordinator that freezes while it removes lets another one go on after that."""
ENTRIES_AT_ONCE = 5_000
OPERATION = "removing what is deleted or old"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days what is kept; 0: for ever, but artifacts, which then are not kept."""

    trainings: float
    uploads: float
    audit: float
    artifacts: float


class Removals:
    """Removes deleted tenants as soon as they are, and what is too old now and then."""

    def __init__(self, database: Database, tenants: TenantRemoval, blobs: BlobStore, kept: Kept) -> None:
        self._database, self._tenants, self._blobs, self._kept = database, tenants, blobs, kept
        self._tries = Tries()
        self._done_at: dict[Step, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        with metrics.REMOVAL_FAILING.reading(self._tries.reading):
            await forever(OPERATION, self._stand, expected=UnavailableError, retry_seconds=RETRY_SECONDS)

    async def _stand(self) -> None:
        """Waits until it is this coordinator that removes, and then does."""
        settings = {"application_name": "doctrain removal", "idle_session_timeout": f"{IDLE_SECONDS:g}s"}
        connection = await self._database.connect(settings=settings, command_seconds=STATEMENT_SECONDS)
        connections = partial(postgres.used, connection, OPERATION)
        try:
            while not await _try_lock(connections):
                self._tries.forget()
                await asyncio.sleep(RETRY_SECONDS)
            while True:
                await self._look(connections)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await postgres.close_connection(connection)

    async def _look(self, connections: Connections) -> None:
        async def tried(step: Step, work: Callable[[], Awaitable[None]], *, part: int = 0, name: str = "") -> bool:
            done = await self._tries.one(step, work, part=part, name=name)
            await ping(connections)  # where the step lost the connection, nothing else can be tried on it
            return done

        await tried(Step.REMOVED_TRAININGS, partial(trainings.finish, connections))
        deleting = await self._tenants.deleting(connections)
        self._tries.keep(Step.TENANTS, deleting.keys())
        for tenant, name in deleting.items():
            remove = partial(self._tenants.remove, connections, tenant, name)
            await tried(Step.TENANTS, remove, part=tenant, name=f"the tenant {name}")
        for step, every, remove_old in self._old(connections):
            if time.monotonic() - self._done_at.get(step, float("-inf")) >= every and await tried(step, remove_old):
                self._done_at[step] = time.monotonic()

    def _old(self, connections: Connections) -> Iterator[tuple[Step, float, Callable[[], Awaitable[None]]]]:
        """What may be too old, and how often that is looked for."""
        kept, often = self._kept, RETENTION_SECONDS
        if kept.trainings:
            yield Step.TRAININGS, often, partial(trainings.remove_old, connections, kept.trainings)
        if kept.uploads:
            yield Step.UPLOADS, often, partial(uploads.remove_old, connections, self._blobs, kept.uploads)
        yield Step.BROKEN_UPLOADS, often, partial(uploads.remove_broken_off, connections, self._blobs)
        yield Step.LATE_ARTIFACTS, often, partial(self._tenants.remove_late, connections)
        yield Step.OLD_ARTIFACTS, ARTIFACTS_SECONDS, partial(self._remove_artifacts, connections)
        if kept.audit:
            yield Step.AUDIT, often, partial(_forget_entries, connections, kept.audit)

    async def _remove_artifacts(self, connections: Connections) -> None:
        """The next reading of their documents would seldom be soon."""
        moment, count = datetime.now(UTC) - timedelta(days=self._kept.artifacts), 0
        async for some in self._blobs.artifacts.remove_older(moment):
            count += some
            await ping(connections)
        if count:
            log.info("%d old artifacts were removed.", count)


async def _try_lock(connections: Connections) -> bool:
    async with connections() as c:
        return bool(await c.fetchval(SQL["try_lock"]))


async def _forget_entries(connections: Connections, days: float) -> None:
    more = True
    while more:
        async with connections() as c:
            more = await audit.forget(c, days, ENTRIES_AT_ONCE) == f"DELETE {ENTRIES_AT_ONCE}"
        await asyncio.sleep(trainings.PAUSE_SECONDS)
