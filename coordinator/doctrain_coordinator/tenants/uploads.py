"""The bytes that tenants store: bounded by their plans, and known by name, so that each can be found and removed.

What is about to be stored is written down first, so that nothing lies in the store that no row names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from doctrain_coordinator.tenants.identity import Identity
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore, StoredBlob
from doctrain_mesh.errors import QuotaExceededError, TenantSuspendedError
from doctrain_mesh.network.uris import parse_blob
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__)
SECONDS = 10.0


class Uploads:
    """What is stored for tenants by this coordinator."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs

    async def put_many(self, caller: Identity, contents: Sequence[bytes]) -> list[str]:
        """Stores the documents of one request; answers their URIs in order.

        Raises QuotaExceededError, TenantSuspendedError, BlobUnavailableError, StoreUnavailableError.
        """
        if not contents:
            return []
        uris = await self._blobs.put_many(caller.tenant_id, contents, self._admitting(caller))
        await self._complete(caller, sorted({key.sha256 for uri in uris if (key := parse_blob(uri)) is not None}))
        return uris

    async def put_stream(self, caller: Identity, pieces: AsyncIterator[bytes], max_bytes: int) -> StoredBlob:
        """Stores bytes as they come. Raises what ``put_many`` does, BlobTooLargeError, and what ``pieces`` raises."""
        stored = await self._blobs.put_stream(caller.tenant_id, pieces, max_bytes, self._admitting(caller))
        await self._complete(caller, [stored.sha256])
        return stored

    async def delete(self, caller: Identity, sha256s: Sequence[str]) -> None:
        """Forgets what was removed from the store. Raises StoreUnavailableError."""
        if sha256s:
            async with postgres.acquired(self._pool, "forgetting uploads", seconds=SECONDS) as c:
                await c.execute(SQL["forget"], caller.tenant, sha256s)

    def _admitting(self, caller: Identity) -> Callable[[str, int], Awaitable[None]]:
        async def admit(sha256: str, size: int) -> None:
            async with postgres.acquired(self._pool, "admitting an upload", seconds=SECONDS) as c:
                if await c.fetchval(SQL["admit"], caller.tenant, sha256, size) is not None:
                    return
                limit = await c.fetchrow(SQL["limit"], caller.tenant)
            if limit is None or limit["deleting"]:
                raise TenantSuspendedError("This tenant is being deleted.")
            raise QuotaExceededError(
                f"The plan {limit['plan']} allows {limit['upload_bytes']:,} bytes of uploads, and {limit['kept']:,} are kept; this one has "
                f"{size:,}. Delete documents, whose bytes are then removed, or ask the operator of the mesh.",
                metadata={
                    "subject": f"tenant:{caller.tenant_id}",
                    "quota": "upload_bytes",
                    "limit": str(limit["upload_bytes"]),
                    "unit": "bytes",
                },
            )

        return admit

    async def _complete(self, caller: Identity, sha256s: Sequence[str]) -> None:
        if sha256s:
            async with postgres.acquired(self._pool, "recording an upload", seconds=SECONDS) as c:
                await c.execute(SQL["complete"], caller.tenant, sha256s)
