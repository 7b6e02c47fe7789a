"""Takes documents out of the index, so that no training that was started before brings them back (docs/adr/0014).

What they leave elsewhere is written down in the same transaction and removed after it (``remains``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.search.remains import Delete, Remains, numbers
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import DELETED
from doctrain_coordinator.tenants.uploads import Owner
from doctrain_coordinator.trainings.reading import Trainings
from doctrain_mesh import postgres
from doctrain_mesh.errors import TenantSuspendedError, TrainingNotEndedError
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, TrainingState)
CALL_SECONDS = 5.0
"""How long a call works on before it leaves the rest to the next one, and others their turn."""
BATCH_SECONDS = 30.0
BATCH_DOCUMENTS = 50


class Rest(NamedTuple):
    """Where a delete goes on: of the documents that are named, in their order without repetition, so many are done."""

    delete: Delete
    done: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many documents a call took out of the index, and what it left; of those that were named, which are out."""

    count: int
    rest: Rest | None
    ids: Sequence[str] = ()


class Deleting:
    """Deletes documents of a tenant, and what doctrain stored for them. Raises UnavailableError; what was deleted stays so."""

    def __init__(self, pool: Pool, trainings: Trainings, remains: Remains) -> None:
        self._pool, self._trainings, self._remains = pool, trainings, remains

    async def documents(self, document_ids: Sequence[str], deed: Deed, rest: Rest | None = None) -> Deleted:
        """Deletes documents by their ids, whichever training put them into the index, and those that older trainings have open.

        The deed is written with each batch, in its transaction. A call does one batch at least, so that each gets further.
        """
        until = asyncio.get_running_loop().time() + CALL_SECONDS
        delete, gone = await self._called(rest), list[str]()
        ids, done = sorted(set(document_ids)), rest.done if rest else 0
        while done < len(ids):
            gone += await self._delete(deed, ids[done : done + BATCH_DOCUMENTS], delete, None)
            done += BATCH_DOCUMENTS
            if asyncio.get_running_loop().time() > until and done < len(ids):
                return Deleted(len(gone), Rest(delete, done), gone)
        return Deleted(len(gone), None, gone)

    async def of_training(self, task_id: str, deed: Deed, rest: Rest | None = None) -> Deleted:
        """What a training put into the index and no newer one has replaced; the deed as in ``documents``.

        Raises TrainingNotFoundError, and TrainingNotEndedError: what still runs might index more.
        """
        caller, until = deed.caller, asyncio.get_running_loop().time() + CALL_SECONDS
        training = await self._trainings.find(caller.tenant, task_id)
        seen = await self._trainings.one(caller.tenant, training)
        if not seen.training.state.ended:
            raise TrainingNotEndedError(
                f"The training {task_id!r} has not ended; cancel it or wait for its end, or name the documents to delete."
            )
        delete, count = await self._called(rest), 0
        while True:
            async with postgres.acquired(self._pool, "reading a training's documents", seconds=BATCH_SECONDS) as c:
                ids = [row["document_id"] for row in await c.fetch(SQL["documents_of"], caller.tenant, training, BATCH_DOCUMENTS)]
            if not ids:
                return Deleted(count, None)
            count += len(await self._delete(deed, ids, delete, training))
            if asyncio.get_running_loop().time() > until:
                return Deleted(count, Rest(delete))

    async def _called(self, rest: Rest | None) -> Delete:
        """The place of the delete, in the order of trainings, and its time: the first call's, for those that go on with it."""
        async with postgres.acquired(self._pool, "deleting documents", seconds=BATCH_SECONDS) as c:
            if rest is not None:
                return rest.delete._replace(place=await c.fetchval(SQL["resumed_place"], rest.delete.place))
            row = await c.fetchrow(SQL["next_place"])
        assert row is not None
        return Delete(row["place"], row["called_at"])

    async def _delete(self, deed: Deed, ids: Sequence[str], delete: Delete, training: int | None) -> list[str]:
        """Answers those that were in the index."""
        caller = deed.caller
        async with postgres.acquired(self._pool, "deleting documents", seconds=BATCH_SECONDS) as c, c.transaction():
            if await c.fetchval(SQL["keep_tenant"], caller.tenant) is None:
                raise TenantSuspendedError(DELETED)
            there = await c.fetch(SQL["lock_documents"], caller.tenant, ids, delete.place, training)
            marked = await c.fetch(SQL["delete_documents"], caller.tenant, ids, delete.place, training, numbers(ids))
            gone = [row["document_id"] for row in marked]
            await c.execute(SQL["delete_chunks"], caller.tenant, gone)
            if there:
                await deed.write(c, f"{deed.subject[:1].upper()}{deed.subject[1:]} deleted from the index: {len(there):,}")
            await self._remains.expect(c, caller.tenant, gone, delete, training)
        await self._remains.remove(Owner(caller.tenant, caller.tenant_id), ids)
        return [row["document_id"] for row in there]
