"""Removes deleted tenants, step by step, each of which may be done again: whoever looks next goes on where another one died.

The tenant's row goes last. Until then all who would store something for it see that it is being deleted.
"""

from __future__ import annotations

import asyncio
import logging

from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.removal import trainings
from doctrain_coordinator.removal.lock import ping
from doctrain_coordinator.tenants.uploads import ARRIVAL_SECONDS
from doctrain_coordinator.trainings.control import Control
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.object_store import Refusals
from doctrain_mesh.postgres import Connections, statements

SQL = statements.of(__name__, ShardState, TrainingState)
TRAININGS_AT_ONCE = 100
ROWS_AT_ONCE = 2_000
PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class TenantRemoval:
    """Removes the tenants that are being deleted."""

    def __init__(self, control: Control, blobs: BlobStore) -> None:
        self._control, self._blobs = control, blobs

    async def deleting(self, connections: Connections) -> dict[int, str]:
        """Those that are being deleted, with their names."""
        async with connections() as c:
            return {row["id"]: row["name"] for row in await c.fetch(SQL["deleting"])}

    async def remove(self, connections: Connections, tenant: int, name: str) -> None:
        """Removes one, or what of it can be removed now; the rest still runs or is on its way.

        Raises UnavailableError, BlobForbiddenError.
        """
        if await self._remove(connections, tenant, name):
            log.info("Tenant %s is deleted: nothing is left of it.", name)

    async def remove_late(self, connections: Connections) -> None:
        """Removes artifacts that came when their tenant was no more. A key is never another tenant's: it stays so."""
        folders = await self._blobs.artifacts.folders()
        if not folders:
            return
        async with connections() as c:
            known = {row["id"] for row in await c.fetch(SQL["known"], list(set(folders.values())))}
        late, refusals = [folder for folder, tenant in folders.items() if tenant not in known], Refusals()
        for folder in late:
            with refusals.passed_over():
                async for _ in self._blobs.artifacts.remove_folder(folder):
                    await ping(connections)
        if late:
            log.info("What workers stored late of %d deleted tenants was removed, as far as it could be.", len(late))
        refusals.check()

    async def _remove(self, connections: Connections, tenant: int, name: str) -> bool:
        async with connections() as c:
            await c.execute(SQL["settle"], tenant)
        while running := await _some(connections, "open_trainings", tenant):
            for training in running:
                await self._control.cancel(training)
        async with connections() as c:
            if await c.fetchval(SQL["in_flight"], tenant) or await c.fetchval(SQL["arriving"], tenant, ARRIVAL_SECONDS):
                return False
        while there := await _some(connections, "trainings", tenant):
            for training in there:
                await trainings.remove(connections, training)
            await trainings.finish(connections)
        for statement in ("remove_chunks", "remove_indexed", "remove_deleted"):
            done = ""
            while done != "DELETE 0":
                async with connections() as c:
                    done = await c.execute(SQL[statement], tenant, ROWS_AT_ONCE)
                await asyncio.sleep(PAUSE_SECONDS)
        while await self._blobs.has_any(tenant, name):
            async for _ in self._blobs.remove_all(tenant, name):
                await ping(connections)
        async with connections() as c, c.transaction():
            await c.execute(SQL["settle"], tenant)
            await c.execute(SQL["remove_uploads"], tenant)
            await c.execute(SQL["remove_keys"], tenant)
            return await c.fetchval(SQL["remove_tenant"], tenant) is not None


async def _some(connections: Connections, statement: str, tenant: int) -> list[int]:
    async with connections() as c:
        return [row["id"] for row in await c.fetch(SQL[statement], tenant, TRAININGS_AT_ONCE)]
