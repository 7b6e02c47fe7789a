"""Removes at once the uploads of a tenant that no training names, when it asks for it: their bytes count against its plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator.removal.uploads import unnamed_of
from doctrain_coordinator.tenants.identity import Identity
from doctrain_coordinator.tenants.uploads import Owner, remove_unnamed
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__)
SECONDS = 10.0
AT_ONCE = 500
CALL_SECONDS = 5.0
"""A call ends after about that long, and is then to be made again."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many uploads no training named, and their bytes; then what is kept, what the plan allows, and whether all were looked at."""

    uploads: int
    bytes: int
    kept_bytes: int
    limit_bytes: int
    complete: bool


class UnnamedUploads:
    """Those of every tenant."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs

    async def drop(self, caller: Identity, *, only_count: bool) -> Dropped:
        """Removes those that are whole, or only counts them. Raises BlobUnavailableError, StoreUnavailableError."""
        count, size, after, until = 0, 0, "", time.monotonic() + CALL_SECONDS
        complete = False
        while not complete and time.monotonic() < until:
            async with postgres.acquired(self._pool, "dropping uploads", seconds=SECONDS) as c:
                some = await c.fetch(SQL["next"], caller.tenant, after, AT_ONCE)
                sizes = {row["sha256"]: row["bytes"] for row in some}
                unnamed = await self._unnamed(c, caller, list(sizes), only_count=only_count)
            count, size = count + len(unnamed), size + sum(sizes[sha256] for sha256 in unnamed)
            complete = len(some) < AT_ONCE
            after = some[-1]["sha256"] if some else after
        async with postgres.acquired(self._pool, "counting uploads", seconds=SECONDS) as c:
            kept = await c.fetchrow(SQL["kept"], caller.tenant)
        assert kept is not None
        return Dropped(count, size, kept["kept"], kept["upload_bytes"], complete)

    async def _unnamed(self, c: Connection, caller: Identity, sha256s: Sequence[str], *, only_count: bool) -> list[str]:
        """Those of them that no training names, removed unless they are only to be counted."""
        if only_count:
            return await unnamed_of(c, caller.tenant, 0.0, sha256s)
        found: list[str] = []

        async def note(locked: Sequence[str]) -> list[str]:
            unnamed = await unnamed_of(c, caller.tenant, 0.0, locked)
            found.extend(unnamed)
            return unnamed

        await remove_unnamed(c, self._blobs, Owner(caller.tenant, caller.tenant_id), sha256s, note)
        return found
