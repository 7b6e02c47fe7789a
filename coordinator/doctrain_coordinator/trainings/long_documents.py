"""The documents of one training that have run for a while, for one watcher: they are read once, how far they are with each state."""

from __future__ import annotations

from doctrain_coordinator.core.stages import UnderWay, restored_under_way
from doctrain_coordinator.core.states import DocumentState, ShownState
from doctrain_coordinator.trainings.reading import Seen
from doctrain_coordinator.trainings.views import DocumentView
from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_mesh.postgres import statements

SQL = statements.of(__name__, DocumentState, ShownState)
MOST = 10


class LongDocuments:
    """Remembers those that were told last."""

    def __init__(self, reads: WatchReads, tenant: int, training: int) -> None:
        self._reads, self._tenant, self._training = reads, tenant, training
        self._known: dict[int, DocumentView] = {}

    async def first(self, seen: Seen) -> list[tuple[DocumentView, UnderWay]]:
        """The running documents that began first, without their metadata, each with how far it is. Raises StoreUnavailableError."""
        found = restored_under_way(seen.training.under_way)
        first = sorted(found, key=lambda ordinal: found[ordinal].began_ms)[:MOST]
        if not self._known.keys() >= set(first):
            async with self._reads.connection(self._tenant, "reading what runs") as c:
                rows = await c.fetch(SQL["long_documents"], self._training, first)
            self._known = {row["ordinal"]: DocumentView(**row) for row in rows}
        return [(self._known[ordinal], found[ordinal]) for ordinal in first if ordinal in self._known]
