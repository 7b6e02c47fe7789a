"""The documents of one training that have ended, for one watcher: each is told once, however often its shard changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from doctrain_coordinator.core.states import DocumentState, ShownState
from doctrain_coordinator.trainings.reading import Seen, read_documents
from doctrain_coordinator.trainings.views import DocumentView
from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_mesh.postgres import Record, statements

SQL = statements.of(__name__, DocumentState, ShownState)
MOST_DOCUMENTS = 200
ENOUGH_BYTES = 128 * 1024
"""Of documents in one batch: a client that reads nothing is to hold little of this process's memory."""


class ChangedDocuments:
    """Remembers what was told of shards that are not over."""

    def __init__(self, reads: WatchReads, tenant: int, training: int) -> None:
        self._reads, self._tenant, self._training = reads, tenant, training
        self._told: dict[int, set[int]] = {}

    def forget(self) -> None:
        """What was told counts no more."""
        self._told.clear()

    async def since(self, version: int, seen: Seen) -> AsyncIterator[Sequence[DocumentView]]:
        """The documents that ended after the training had that version, in batches.

        ``seen`` is how it stands. Raises StoreUnavailableError.
        """
        async with self._reads.connection(self._tenant, "reading what changed") as c:
            shards = await c.fetch(SQL["changed_shards"], self._training, version)
        for shard in shards:
            async for documents in self._of_shard(shard):
                yield documents
            if shard["open"] == 0 and shard["version"] <= seen.training.version:
                del self._told[shard["id"]]

    async def _of_shard(self, shard: Record) -> AsyncIterator[Sequence[DocumentView]]:
        told = self._told.setdefault(shard["id"], set())
        first, last = shard["first"], shard["first"] + shard["count"] - 1
        while first <= last:
            async with self._reads.connection(self._tenant, "reading what changed") as c:
                arguments = self._training, first, last, MOST_DOCUMENTS
                found = await read_documents(c, SQL["ended_documents"], *arguments, most_bytes=ENOUGH_BYTES)
            fresh = [document for document in found.documents if document.ordinal not in told]
            told.update(document.ordinal for document in fresh)
            if fresh:
                yield fresh
            first = found.documents[-1].ordinal + 1 if found.cut or len(found.documents) == MOST_DOCUMENTS else last + 1
