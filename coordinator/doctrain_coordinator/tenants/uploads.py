"""The bytes that tenants store: bounded by their plans, and known by name, so that each can be found and removed.

What is about to be stored is written down first, so that nothing lies under the tenant's name that no row names. A long upload lies apart
until its name is known (``doctrain_mesh.documents.staging``); what broke off there is removed after a while (``removal``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.tenants.identity import DELETED, Identity
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import PUT_SECONDS, Admit, BlobStore, StoredBlob
from doctrain_mesh.documents.object_store import Refusals
from doctrain_mesh.errors import BlobUnavailableError, DoctrainError, QuotaExceededError, TenantSuspendedError
from doctrain_mesh.postgres import Connection, Connections, OwnConnection, Pool, statements
from doctrain_mesh.supervise import for_each

Unnamed: TypeAlias = Callable[["Connection | OwnConnection", Sequence[str]], Awaitable[Sequence[str]]]
"""Answers which of some SHA-256 nothing names, as is seen on that connection."""

SQL = statements.of(__name__, AdvisoryLock)
SECONDS = 10.0
ARRIVAL_SECONDS = 2 * PUT_SECONDS
"""How long after they were admitted bytes may still reach the store."""
REMOVED_AT_ONCE = 32
"""Few, since their rows are locked until their bytes are gone."""


class Owner(NamedTuple):
    """The tenant whose uploads they are: its row, its name."""

    tenant: int
    tenant_id: str


async def remove_unnamed(connections: Connections, blobs: BlobStore, owner: Owner, sha256s: Sequence[str], unnamed: Unnamed) -> list[str]:
    """Removes those of a tenant's uploads that ``unnamed`` answers; which.

    It is asked once they are locked: whoever stores the same bytes waits until they are gone, and stores them anew, and so does a training
    that names them (``trainings.named_uploads``). Those that are on their way again stay. Raises BlobUnavailableError, BlobForbiddenError,
    once all is removed that can be; what was not removed then is still written down.
    """
    removed, refusals = list[str](), Refusals()
    for start in range(0, len(sha256s), REMOVED_AT_ONCE):
        gone = list[str]()

        async def remove(sha256: str, gone: list[str] = gone) -> None:
            with refusals.passed_over(f"The upload {sha256} of {owner.tenant_id}"):
                await blobs.delete(owner.tenant_id, sha256)
                gone.append(sha256)

        async with connections() as c, c.transaction():
            await c.execute(SQL["patiently"])
            await c.execute(SQL["begin_removal"], owner.tenant)
            rows = await c.fetch(SQL["lock"], owner.tenant, sha256s[start : start + REMOVED_AT_ONCE], ARRIVAL_SECONDS)
            wanted = await unnamed(c, [row["sha256"] for row in rows]) if rows else []
            await for_each(wanted, remove, at_once=REMOVED_AT_ONCE)
            await c.execute(SQL["forget"], owner.tenant, gone)
        removed += gone
        if wanted:
            refusals.check_store(removed=len(gone))
    refusals.check()
    return removed


async def keep_all(c: Connection, tenant: int) -> None:
    """Waits until none of a tenant's uploads is being removed; until the end of the transaction none is."""
    await c.execute(SQL["keep_all"], tenant)


class Uploads:
    """What is stored for tenants by this coordinator."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs

    @asynccontextmanager
    async def stored(self, caller: Identity, contents: Sequence[bytes]) -> AsyncIterator[list[str]]:
        """Stores the documents of one request; their URIs in order. No delete takes the bytes while open: within, a training names them.

        Raises QuotaExceededError, TenantSuspendedError, BlobUnavailableError, StoreUnavailableError.
        """
        if not contents:
            yield []
            return
        async with self._admitting(caller) as admit:
            yield await self._blobs.put_many(caller.tenant_id, contents, admit)

    async def put_stream(self, caller: Identity, pieces: AsyncIterator[bytes], max_bytes: int) -> StoredBlob:
        """Stores bytes as they come. Raises what ``stored`` does, BlobTooLargeError, and what ``pieces`` raises."""
        async with self._admitting(caller) as admit:
            return await self._blobs.put_stream(caller.tenant_id, pieces, max_bytes, admit)

    @asynccontextmanager
    async def _admitting(self, caller: Identity) -> AsyncIterator[Admit]:
        """What is admitted within has arrived at its end; after a failure it may still arrive, so that is not said then."""
        arriving = Counter[str]()

        async def admit(sha256: str, size: int) -> None:
            async with postgres.acquired(self._pool, "admitting an upload", seconds=SECONDS) as c:
                if await c.fetchval(SQL["admit"], caller.tenant, sha256, size, ARRIVAL_SECONDS) is None:
                    limit = await c.fetchrow(SQL["limit"], caller.tenant)
                    raise _refusal(caller.tenant_id, size, dict(limit) if limit else None)
            arriving[sha256] += 1

        yield admit
        await self._arrived(caller, arriving)

    async def _arrived(self, caller: Identity, arriving: Mapping[str, int]) -> None:
        if not arriving:
            return
        async with postgres.acquired(self._pool, "recording an upload", seconds=SECONDS) as c:
            rows = await c.fetch(SQL["arrived"], caller.tenant, list(arriving), list(arriving.values()))
            deleted = len(rows) < len(arriving) and not await c.fetchval(SQL["kept"], caller.tenant)
        gone = sorted(arriving.keys() - {row["sha256"] for row in rows})
        if deleted:
            for sha256 in gone:
                await self._blobs.delete(caller.tenant_id, sha256)
            raise TenantSuspendedError(DELETED)
        if gone:
            raise BlobUnavailableError("What was uploaded was removed before all of it was stored. Send it again.", retry_after_seconds=1.0)


def _refusal(tenant_id: str, size: int, limit: Mapping[str, Any] | None) -> DoctrainError:
    if limit is None or limit["deleting"]:
        return TenantSuspendedError(DELETED)
    return QuotaExceededError(
        f"The plan {limit['plan']} allows {limit['upload_bytes']:,} bytes of uploads, and {limit['kept']:,} are kept; this one has "
        f"{size:,}. Delete documents, whose bytes are then removed, drop what no training names (doctrain uploads --drop), or ask "
        "the operator of the mesh.",
        metadata={
            "subject": f"tenant:{tenant_id}",
            "quota": "upload_bytes",
            "limit": str(limit["upload_bytes"]),
            "unit": "bytes",
        },
    )
