"""Removes uploads that no training names, once they are old, and what is left of those that broke off.

A client may store bytes long before it trains them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.removal.lock import ping
from doctrain_coordinator.tenants.uploads import Owner, remove_unnamed
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.object_store import Refusals
from doctrain_mesh.postgres import Connection, Connections, OwnConnection, statements

SQL = statements.of(__name__, TrainingState)
AT_ONCE = 500
BROKEN_OFF_SECONDS = 3600.0
"""An upload that goes on has been written to since."""

log = logging.getLogger(__name__)


async def unnamed_of(c: Connection | OwnConnection, tenant: int, days: float, sha256s: Sequence[str]) -> list[str]:
    """The uploads of a tenant, among those, that no training names and that were stored more than ``days`` ago."""
    return [row["sha256"] for row in await c.fetch(SQL["unnamed"], tenant, sha256s, days)]


async def remove_unnamed_of(connections: Connections, blobs: BlobStore, owner: Owner, days: float, sha256s: Sequence[str]) -> list[str]:
    """Removes the uploads that ``unnamed_of`` answers, and answers which; of those that a training names no row is locked.

    Raises BlobUnavailableError, BlobForbiddenError.
    """

    async def unnamed(c: Connection | OwnConnection, some: Sequence[str]) -> list[str]:
        return await unnamed_of(c, owner.tenant, days, some)

    async with connections() as c:
        old = await unnamed(c, sha256s)
    return await remove_unnamed(connections, blobs, owner, old, unnamed)


async def remove_old(connections: Connections, blobs: BlobStore, days: float) -> None:
    """Removes those that were stored more than ``days`` ago. Raises BlobUnavailableError, BlobForbiddenError."""
    count, refusals = 0, Refusals()
    async for owner, sha256s in _old(connections, days):
        with refusals.passed_over():
            count += len(await remove_unnamed_of(connections, blobs, owner, days, sha256s))
    if count:
        log.info("%d uploads of more than %g days that no training names were removed.", count, days)
    refusals.check()


async def _old(connections: Connections, days: float) -> AsyncIterator[tuple[Owner, list[str]]]:
    tenant, sha256 = 0, ""
    while True:
        async with connections() as c:
            old = await c.fetch(SQL["old"], tenant, sha256, days, AT_ONCE)
        if not old:
            return
        for owner, rows in groupby(old, key=itemgetter("tenant", "name")):
            yield Owner(*owner), [row["sha256"] for row in rows]
        tenant, sha256 = old[-1]["tenant"], old[-1]["sha256"]


async def remove_broken_off(connections: Connections, blobs: BlobStore) -> None:
    """Removes what is left of uploads whose process died. Raises BlobUnavailableError, BlobForbiddenError."""
    count = 0
    async for some in blobs.staging.remove_older(datetime.now(UTC) - timedelta(seconds=BROKEN_OFF_SECONDS)):
        count += some
        await ping(connections)
    if count:
        log.info("What was left of %d uploads that broke off was removed.", count)
