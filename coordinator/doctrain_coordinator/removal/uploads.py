"""Removes uploads that no training names, once they are old: a client may store bytes long before it trains them."""

from __future__ import annotations

from functools import partial
from itertools import groupby

from doctrain_coordinator.core.states import TrainingState
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.postgres import OwnConnection, statements
from doctrain_mesh.supervise import for_each

SQL = statements.of(__name__, TrainingState)
AT_ONCE = 32
"""Few, since their rows are locked until their bytes are gone."""


async def remove_old(c: OwnConnection, blobs: BlobStore, days: float) -> int:
    """Removes those that were stored more than ``days`` ago; answers how many. Raises BlobUnavailableError."""
    count, tenant, sha256 = 0, 0, ""
    while old := await c.fetch(SQL["old"], tenant, sha256, days, AT_ONCE):
        for (key, name), rows in groupby(old, key=lambda row: (row["tenant"], row["name"])):
            sha256s = [row["sha256"] for row in rows]
            async with c.transaction():
                unnamed = [row["sha256"] for row in await c.fetch(SQL["lock_unnamed"], key, sha256s, days)]
                await for_each(unnamed, partial(blobs.delete, name), at_once=AT_ONCE)
                await c.execute(SQL["remove"], key, unnamed)
            count += len(unnamed)
        tenant, sha256 = old[-1]["tenant"], old[-1]["sha256"]
    return count
