"""Looks for what is to be removed. One coordinator at a time removes, on a connection of its own, away from those who serve.

All that is done may be done twice, so two that both think they are the one do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from doctrain_coordinator.removal import trainings, uploads
from doctrain_coordinator.removal.tenants import Tenants
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tenants import audit
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.errors import BlobForbiddenError
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import OwnConnection, Pool, statements
from doctrain_mesh.supervise import forever

SQL = statements.of(__name__, AdvisoryLock)
LOOK_SECONDS = 2.0
RETENTION_SECONDS = 3600.0
"""How often it is looked for what is too old, or broke off."""
RETRY_SECONDS = 10.0
STATEMENT_SECONDS = 300.0
IDLE_SECONDS = 120.0
"""A coordinator that freezes while it removes lets another one go on after that."""
ENTRIES_AT_ONCE = 5_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days what is kept; 0: for ever."""

    trainings: float
    uploads: float
    audit: float


class Removals:
    """Removes deleted tenants as soon as they are, and what is too old now and then."""

    def __init__(self, database: Database, pool: Pool, tenants: Tenants, blobs: BlobStore, kept: Kept) -> None:
        self._database, self._pool, self._tenants, self._blobs, self._kept = database, pool, tenants, blobs, kept
        self._looked = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        expected = (UnavailableError, BlobForbiddenError)
        await forever("removing what is deleted or old", self._look, expected=expected, retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        async with postgres.acquired(self._pool, "looking for what is to be removed") as c:
            wanted = await c.fetchval(SQL["wanted"])
        old = time.monotonic() - self._looked >= RETENTION_SECONDS
        done = not (wanted or old) or await self._remove(old=old)
        await asyncio.sleep(LOOK_SECONDS if done else RETRY_SECONDS)

    async def _remove(self, *, old: bool) -> bool:
        """False while another coordinator removes."""
        settings = {"application_name": "doctrain removal", "idle_session_timeout": f"{IDLE_SECONDS:g}s"}
        connection = await self._database.connect(settings=settings, command_seconds=STATEMENT_SECONDS)
        try:
            async with postgres.available("removing what is deleted or old", connection):
                if not await connection.fetchval(SQL["try_lock"]):
                    return False
                await trainings.finish(connection)
                await self._tenants.remove(connection)
                if old:
                    await self._remove_old(connection)
                    self._looked = time.monotonic()
                return True
        finally:
            await postgres.close_connection(connection)

    async def _remove_old(self, c: OwnConnection) -> None:
        kept = self._kept
        if kept.trainings and (count := await trainings.remove_old(c, kept.trainings)):
            log.info("%d trainings that ended more than %g days ago were removed.", count, kept.trainings)
        if kept.uploads and (count := await uploads.remove_old(c, self._blobs, kept.uploads)):
            log.info("%d uploads of more than %g days that no training names were removed.", count, kept.uploads)
        if count := await uploads.remove_broken_off(self._blobs):
            log.info("What was left of %d uploads that broke off was removed.", count)
        if count := await self._tenants.remove_late(c):
            log.info("What workers stored late of %d deleted tenants was removed.", count)
        more = kept.audit > 0
        while more:
            more = await audit.forget(c, kept.audit, ENTRIES_AT_ONCE) == f"DELETE {ENTRIES_AT_ONCE}"
            await asyncio.sleep(trainings.PAUSE_SECONDS)
