"""The documents of one training that have run for a while, for one watcher: their rows are read once, how far they are with each state."""

from __future__ import annotations

from doctrain_coordinator.core.stages import UnderWay, restored_under_way
from doctrain_coordinator.core.states import DocumentState, ShownState
from doctrain_coordinator.trainings.reading import Seen
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, Record, statements

SQL = statements.of(__name__, DocumentState, ShownState)
READ_SECONDS = 10.0
MOST = 10


class LongDocuments:
    """Remembers the rows of those that were told last."""

    def __init__(self, pool: Pool, training: int) -> None:
        self._pool, self._training = pool, training
        self._rows: dict[int, Record] = {}

    async def first(self, seen: Seen) -> list[tuple[Record, UnderWay]]:
        """Those that began first, without their metadata, each with how far it is. Raises StoreUnavailableError."""
        found = restored_under_way(seen.row["under_way"])
        first = sorted(found, key=lambda ordinal: found[ordinal].began_ms)[:MOST]
        if not self._rows.keys() >= set(first):
            async with postgres.acquired(self._pool, "reading what runs", seconds=READ_SECONDS) as c:
                self._rows = {row["ordinal"]: row for row in await c.fetch(SQL["long_documents"], self._training, first)}
        return [(self._rows[ordinal], found[ordinal]) for ordinal in first if ordinal in self._rows]
