"""Removes what deleted documents leave outside the index: their metadata in the record of trainings, their bytes, their artifacts.

None of it goes in the transaction that takes them out of the index, so that one writes down what is left (``deleted_document``).
The call that deletes goes on with it at once; where that breaks off, or has to wait for a load, every coordinator looks for what is due.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tenants.uploads import Owner, remove_unnamed
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.errors import BlobForbiddenError
from doctrain_mesh.documents.object_store import Refusals
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Connection, OwnConnection, Pool, statements
from doctrain_mesh.supervise import deadline, for_each, forever

SQL = statements.of(__name__, TrainingState)
OWN_SECONDS = 60.0
"""How long what is left is the deleting call's own."""
AGAIN_SECONDS = 600.0
"""How long after it was looked at what could not be removed is looked at again."""
LOOK_SECONDS = 5.0
RETRY_SECONDS = 10.0
SECONDS = 30.0
DOCUMENTS_AT_ONCE = 50
ARTIFACTS_AT_ONCE = 8
PAUSE_SECONDS = 0.05
_NUMBER = re.compile("0|[1-9][0-9]{0,9}")


class Delete(NamedTuple):
    """The place of a delete in the order of trainings, and when it was called."""

    place: int
    called_at: datetime


class Remains:
    """Removes what deleted documents leave outside the index, for every tenant."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs
        self._connections = partial(postgres.acquired, pool, "removing what deleted documents left", seconds=SECONDS)

    async def expect(self, c: Connection, tenant: int, document_ids: Sequence[str], delete: Delete, training: int | None) -> None:
        """Writes down that there are some, in the transaction of the delete; ``training`` where all of that one is deleted."""
        await c.execute(SQL["expect"], tenant, document_ids, *delete, training, OWN_SECONDS)

    async def remove(self, owner: Owner, document_ids: Sequence[str]) -> None:
        """Removes what is written down of these; what a load may still add to is left for later. Raises UnavailableError."""
        async with postgres.acquired(self._pool, "looking for what deleted documents left", seconds=SECONDS) as c:
            rows = await c.fetch(SQL["expected"], owner.tenant, document_ids)
        for delete, documents in groupby(rows, key=itemgetter("place", "called_at")):
            await self._remove(owner, [row["document_id"] for row in documents], Delete(*delete))

    async def run(self) -> None:
        """Removes what is due, until cancelled."""
        expected = (UnavailableError, BlobForbiddenError)
        await forever("removing what deleted documents left", self._look, expected=expected, retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        async with postgres.acquired(self._pool, "looking for what deleted documents left", seconds=SECONDS) as c:
            due = await c.fetch(SQL["take_due"], DOCUMENTS_AT_ONCE, AGAIN_SECONDS)
        refusals = Refusals()
        for owner, documents in groupby(sorted(due, key=itemgetter("tenant")), key=itemgetter("tenant", "name")):
            with refusals.passed_over():
                await self.remove(Owner(*owner), [row["document_id"] for row in documents])
        refusals.check()
        await asyncio.sleep(PAUSE_SECONDS if due else LOOK_SECONDS)

    async def _remove(self, owner: Owner, ids: Sequence[str], delete: Delete) -> None:
        await for_each(ids, partial(self._blobs.artifacts.remove_document, *owner), at_once=ARTIFACTS_AT_ONCE)
        async with self._connections() as c:
            more = await c.fetchval(SQL["loading"], owner.tenant, delete.place)
        await self._forget_metadata(owner, ids, delete)
        more = await self._bytes_stay(owner, ids, delete) or more
        async with self._connections() as c:
            await c.execute(SQL["leave" if more else "finish"], owner.tenant, ids, delete.place)

    async def _forget_metadata(self, owner: Owner, ids: Sequence[str], delete: Delete) -> None:
        """All of it, also where somebody has the rows just now. Raises OperationTimeoutError."""
        async with deadline("Removing what deleted documents left", SECONDS):
            while True:
                async with self._connections() as c:
                    if not await c.fetchval(SQL["remembers_metadata"], owner.tenant, ids, delete.place):
                        return
                    await c.execute(SQL["forget_metadata"], owner.tenant, ids, delete.place)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _bytes_stay(self, owner: Owner, ids: Sequence[str], delete: Delete) -> bool:
        """Removes the bytes that nothing needs; whether some stay for a manifest that may name them."""
        stay = False

        async def unshared(c: Connection | OwnConnection, locked: Sequence[str]) -> list[str]:
            nonlocal stay
            rows = await c.fetch(SQL["unshared"], owner.tenant, locked, delete.called_at)
            stay = stay or any(row["may_be_named"] for row in rows)
            return [row["sha256"] for row in rows if not row["may_be_named"]]

        async with self._connections() as c:
            blobs = [row["sha256"] for row in await c.fetch(SQL["blobs"], owner.tenant, ids, delete.place, numbers(ids))]
        await remove_unnamed(self._connections, self._blobs, owner, blobs, unshared)
        return stay


def numbers(ids: Sequence[str]) -> list[int | None]:
    """The number that each id is, as those of numbered documents are; None for any other."""
    return [int(name) if _NUMBER.fullmatch(name) else None for name in ids]
