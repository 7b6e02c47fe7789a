"""Removes at once the uploads of a tenant that no training names, when it asks for it: their bytes count against its plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from doctrain_coordinator.removal.uploads import remove_unnamed_of, unnamed_of
from doctrain_coordinator.tenants.identity import DELETED, Identity
from doctrain_coordinator.tenants.uploads import Owner
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import TenantSuspendedError
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__)
SECONDS = 10.0
REMOVAL_SECONDS = 30.0
"""For some whose bytes are removed meanwhile: longer than the object store may take."""
AT_ONCE = 500
CALL_SECONDS = 5.0
"""A call ends after about that long, and is then to be made again."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a call came to.

    Args:
        uploads: those that it looked at and no training named.
        bytes: theirs.
        kept_bytes: of all that are kept now.
        limit_bytes: of the tenant's plan; 0: none.
        after: the SHA-256 of the upload that it looked at last; None: no other comes after it.
    """

    uploads: int
    bytes: int
    kept_bytes: int
    limit_bytes: int
    after: str | None


class UnnamedUploads:
    """Those of every tenant."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs

    async def drop(self, caller: Identity, after: str, *, only_count: bool) -> Dropped:
        """Removes those that are whole, or only counts them, from the upload after that SHA-256 on, for a few seconds.

        Raises TenantSuspendedError for a tenant that is being deleted, BlobUnavailableError, StoreUnavailableError.
        """
        count, size, until = 0, 0, time.monotonic() + CALL_SECONDS
        owner = Owner(caller.tenant, caller.tenant_id)
        removing = partial(postgres.acquired, self._pool, "dropping uploads", seconds=REMOVAL_SECONDS)
        position: str | None = after
        while position is not None:
            async with postgres.acquired(self._pool, "dropping uploads", seconds=SECONDS) as c:
                some = await c.fetch(SQL["next"], caller.tenant, position, AT_ONCE)
                sizes = {row["sha256"]: row["bytes"] for row in some}
                found = await unnamed_of(c, caller.tenant, 0.0, list(sizes)) if only_count else []
            if not only_count:
                found = await remove_unnamed_of(removing, self._blobs, owner, 0.0, list(sizes))
            count, size = count + len(found), size + sum(sizes[sha256] for sha256 in found)
            position = some[-1]["sha256"] if len(some) == AT_ONCE else None
            if time.monotonic() >= until:
                break
        async with postgres.acquired(self._pool, "counting uploads", seconds=SECONDS) as c:
            kept = await c.fetchrow(SQL["kept"], caller.tenant)
        if kept is None:
            raise TenantSuspendedError(DELETED)
        return Dropped(count, size, kept["kept"], kept["upload_bytes"], position)
