"""Removes uploads that no training names, once they are old, and what is left of those that broke off.

A client may store bytes long before it trains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tenants.uploads import Owner, remove_unnamed
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.postgres import Connection, OwnConnection, statements

SQL = statements.of(__name__, TrainingState)
AT_ONCE = 500
BROKEN_OFF_SECONDS = 3600.0
"""An upload that goes on has been written to since."""


async def unnamed_of(c: Connection | OwnConnection, tenant: int, days: float, sha256s: Sequence[str]) -> list[str]:
    """The uploads of a tenant, among those, that no training names and that were stored more than ``days`` ago."""
    return [row["sha256"] for row in await c.fetch(SQL["unnamed"], tenant, sha256s, days)]


async def remove_unnamed_of(
    c: Connection | OwnConnection, blobs: BlobStore, owner: Owner, days: float, sha256s: Sequence[str]
) -> list[str]:
    """Removes the uploads that ``unnamed_of`` answers, and answers which; of those that a training names no row is locked.

    Raises BlobUnavailableError.
    """
    unnamed = partial(unnamed_of, c, owner.tenant, days)
    return await remove_unnamed(c, blobs, owner, await unnamed(sha256s), unnamed)


async def remove_old(c: OwnConnection, blobs: BlobStore, days: float) -> int:
    """Removes those that were stored more than ``days`` ago; answers how many. Raises BlobUnavailableError."""
    count, tenant, sha256 = 0, 0, ""
    while old := await c.fetch(SQL["old"], tenant, sha256, days, AT_ONCE):
        for (key, name), rows in groupby(old, key=lambda row: (row["tenant"], row["name"])):
            count += len(await remove_unnamed_of(c, blobs, Owner(key, name), days, [row["sha256"] for row in rows]))
        tenant, sha256 = old[-1]["tenant"], old[-1]["sha256"]
    return count


async def remove_broken_off(blobs: BlobStore) -> int:
    """Removes what is left of uploads whose process died; answers how many. Raises BlobUnavailableError, BlobForbiddenError."""
    return await blobs.staging.remove_older(datetime.now(UTC) - timedelta(seconds=BROKEN_OFF_SECONDS))
