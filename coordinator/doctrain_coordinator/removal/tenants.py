"""Removes deleted tenants, step by step, each of which may be done again: whoever looks next goes on where another one died.

The tenant's row goes last. Until then all who would store something for it see that it is being deleted.
"""

from __future__ import annotations

import asyncio
import logging

from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.removal import trainings
from doctrain_coordinator.tenants.uploads import ARRIVAL_SECONDS
from doctrain_coordinator.trainings.control import Control
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.postgres import OwnConnection, statements

SQL = statements.of(__name__, ShardState, TrainingState)
TRAININGS_AT_ONCE = 100
ROWS_AT_ONCE = 2_000
PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class Tenants:
    """Removes the tenants that are being deleted."""

    def __init__(self, control: Control, blobs: BlobStore) -> None:
        self._control, self._blobs = control, blobs

    async def remove(self, c: OwnConnection) -> None:
        """Removes what can be removed now; the rest still runs or is on its way. Raises UnavailableError."""
        for row in await c.fetch(SQL["deleting"]):
            if await self._remove(c, row["id"], row["name"]):
                log.info("Tenant %s is deleted: nothing is left of it.", row["name"])

    async def remove_late(self, c: OwnConnection) -> int:
        """Removes artifacts that came when their tenant was no more; answers of how many. A key is never another tenant's: it stays so."""
        folders = await self._blobs.artifacts.folders()
        known = {row["id"] for row in await c.fetch(SQL["known"], list(set(folders.values())))} if folders else set()
        late = [folder for folder, tenant in folders.items() if tenant not in known]
        for folder in late:
            await self._blobs.artifacts.remove_folder(folder)
        return len(late)

    async def _remove(self, c: OwnConnection, tenant: int, name: str) -> bool:
        await c.execute(SQL["settle"], tenant)
        while running := await c.fetch(SQL["open_trainings"], tenant, TRAININGS_AT_ONCE):
            for row in running:
                await self._control.cancel(row["id"])
        if await c.fetchval(SQL["in_flight"], tenant) or await c.fetchval(SQL["arriving"], tenant, ARRIVAL_SECONDS):
            return False
        while there := await c.fetch(SQL["trainings"], tenant, TRAININGS_AT_ONCE):
            for row in there:
                await trainings.remove(c, row["id"])
            await trainings.finish(c)
        for statement in ("remove_chunks", "remove_indexed", "remove_deleted"):
            done = ""
            while done != "DELETE 0":
                done = await c.execute(SQL[statement], tenant, ROWS_AT_ONCE)
                await asyncio.sleep(PAUSE_SECONDS)
        while paths := await self._blobs.some_of(tenant, name):
            await self._blobs.remove(paths)
            await c.execute("select 1")  # shows Postgres that the holder of the lock lives
        await self._blobs.remove_folders(tenant, name)
        async with c.transaction():
            await c.execute(SQL["settle"], tenant)
            await c.execute(SQL["remove_uploads"], tenant)
            await c.execute(SQL["remove_keys"], tenant)
            return await c.fetchval(SQL["remove_tenant"], tenant) is not None
