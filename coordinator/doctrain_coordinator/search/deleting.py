"""Takes documents out of the index, so that no training that was started before brings them back (docs/adr/0014)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.uploads import Owner, remove_unnamed
from doctrain_coordinator.trainings.reading import Trainings
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import TenantSuspendedError, TrainingNotEndedError
from doctrain_mesh.postgres import Pool, statements
from doctrain_mesh.supervise import for_each

SQL = statements.of(__name__, TrainingState)
CALL_SECONDS = 20.0
"""How long a call works on before it leaves the rest to the next one."""
BATCH_SECONDS = 30.0
BATCH_DOCUMENTS = 50
AT_ONCE = 8
PAUSE_SECONDS = 0.05
_NUMBER = re.compile("0|[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many documents a call took out of the index, and whether it did all; of those that were named, which."""

    count: int
    complete: bool
    ids: Sequence[str] = ()


class Deleting:
    """Deletes documents of a tenant, and what doctrain stored for them. Raises UnavailableError; what was deleted stays so."""

    def __init__(self, pool: Pool, trainings: Trainings, blobs: BlobStore) -> None:
        self._pool, self._trainings, self._blobs = pool, trainings, blobs

    async def documents(self, document_ids: Sequence[str], deed: Deed) -> Deleted:
        """Those documents, whichever training put them into the index, and those that older trainings have open.

        The deed is written with each batch, in its transaction.
        """
        until = asyncio.get_running_loop().time() + CALL_SECONDS
        place, gone = await self._place(), list[str]()
        ids = sorted(set(document_ids))
        for start in range(0, len(ids), BATCH_DOCUMENTS):
            if asyncio.get_running_loop().time() > until:
                return Deleted(len(gone), complete=False, ids=gone)
            gone += await self._delete(deed, ids[start : start + BATCH_DOCUMENTS], place, None)
        return Deleted(len(gone), complete=True, ids=gone)

    async def of_training(self, task_id: str, deed: Deed) -> Deleted:
        """What a training put into the index and no newer one has replaced; the deed as in ``documents``.

        Raises TrainingNotFoundError, and TrainingNotEndedError: what still runs might index more.
        """
        caller, until = deed.caller, asyncio.get_running_loop().time() + CALL_SECONDS
        training = await self._trainings.find(caller.tenant, task_id)
        seen = await self._trainings.one(training)
        if not seen.training.state.ended:
            raise TrainingNotEndedError(
                f"The training {task_id!r} has not ended; cancel it or wait for its end, or name the documents to delete."
            )
        place, count = await self._place(), 0
        while asyncio.get_running_loop().time() <= until:
            async with postgres.acquired(self._pool, "reading a training's documents", seconds=BATCH_SECONDS) as c:
                ids = [row["document_id"] for row in await c.fetch(SQL["documents_of"], caller.tenant, training, BATCH_DOCUMENTS)]
            if not ids:
                return Deleted(count, complete=True)
            count += len(await self._delete(deed, ids, place, training))
        return Deleted(count, complete=False)

    async def _place(self) -> int:
        async with postgres.acquired(self._pool, "deleting documents", seconds=BATCH_SECONDS) as c:
            place: int = await c.fetchval(SQL["next_place"])
        return place

    async def _delete(self, deed: Deed, ids: Sequence[str], place: int, training: int | None) -> list[str]:
        """Answers those that were in the index."""
        caller = deed.caller
        async with postgres.acquired(self._pool, "deleting documents", seconds=BATCH_SECONDS) as c:
            async with c.transaction():
                if await c.fetchval(SQL["keep_tenant"], caller.tenant) is None:
                    raise TenantSuspendedError("This tenant is being deleted.")
                there = await c.fetch(SQL["lock_documents"], caller.tenant, ids, place, training)
                gone = [
                    row["document_id"] for row in await c.fetch(SQL["delete_documents"], caller.tenant, ids, place, training, _numbers(ids))
                ]
                await c.execute(SQL["delete_chunks"], caller.tenant, gone)
                if there:
                    await deed.write(c, f"{len(there)} {deed.subject} were deleted from the index")
            while await c.fetchval(SQL["remembers_metadata"], caller.tenant, gone, place):
                await c.execute(SQL["forget_metadata"], caller.tenant, gone, place)
                await asyncio.sleep(PAUSE_SECONDS)

            async def unshared(locked: Sequence[str]) -> list[str]:
                return [row["sha256"] for row in await c.fetch(SQL["unshared"], caller.tenant, locked)]

            blobs = [row["sha256"] for row in await c.fetch(SQL["blobs"], caller.tenant, gone, place, _numbers(gone))]
            await remove_unnamed(c, self._blobs, Owner(caller.tenant, caller.tenant_id), blobs, unshared)
        await for_each(gone, lambda name: self._blobs.artifacts.remove_document(caller.tenant_id, name), at_once=AT_ONCE)
        return [row["document_id"] for row in there]


def _numbers(ids: Sequence[str]) -> list[int | None]:
    """The number that each id is, as those of numbered documents are; None for any other."""
    return [int(name) if _NUMBER.fullmatch(name) else None for name in ids]
