"""What is open of a shard that was begun: its worker is told, document by document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.states import DocumentState
from doctrain_coordinator.tracking.items import BegunShard
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__, DocumentState)
READ_SECONDS = 10.0
AT_ONCE = 4
"""Shards that are read at once: begins leave connections to others, however many come."""
MOST_TENANTS = 100_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A shard and its open documents: their ordinals in runs (first, count) and, unless they differ by number only, column by column.

    ``media_types`` and ``metadata`` (JSON) are empty where no document has any.
    """

    begun: BegunShard
    tenant_id: str
    runs: Sequence[tuple[int, int]]
    document_ids: Sequence[str] = ()
    uris: Sequence[str] = ()
    media_types: Sequence[str] = ()
    metadata: Sequence[str] = ()


class OpenDocuments:
    """Reads outside the group commit: the shard is its holder's by then, so what is open changes by its reports only."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._turns = pool, asyncio.Semaphore(AT_ONCE)
        self._tenant_ids: dict[int, str] = {}

    def known(self, begun: BegunShard) -> Opened | None:
        """The answer where nothing needs to be read: a shard of numbered documents that are all open."""
        facts = begun.facts
        tenant_id = self._tenant_ids.get(facts.tenant)
        if tenant_id is None or begun.training.uri_template is None or begun.open != facts.count:
            return None
        return Opened(begun, tenant_id, [(facts.first, facts.count)])

    async def read(self, begun: BegunShard) -> Opened:
        """What is open now; raises StoreUnavailableError."""
        facts = begun.facts
        last = facts.first + facts.count - 1
        async with self._turns, postgres.acquired(self._pool, "reading a shard", seconds=READ_SECONDS) as c:
            tenant_id = await self._tenant_id(c, facts.tenant)
            if begun.training.uri_template is not None:
                return Opened(begun, tenant_id, _runs(await open_ordinals(c, facts.training, facts.first, last)))
            rows = await c.fetch(SQL["open_documents"], facts.training, facts.first, last)
        return Opened(
            begun,
            tenant_id,
            _runs(row["ordinal"] for row in rows),
            [row["document_id"] for row in rows],
            [row["uri"] for row in rows],
            [row["media_type"] or "" for row in rows] if any(row["media_type"] for row in rows) else (),
            [row["metadata"] or "{}" for row in rows] if any(row["metadata"] for row in rows) else (),
        )

    async def _tenant_id(self, c: Connection, tenant: int) -> str:
        if tenant not in self._tenant_ids:
            if len(self._tenant_ids) >= MOST_TENANTS:
                self._tenant_ids.clear()
            self._tenant_ids[tenant] = await c.fetchval(SQL["tenant_name"], tenant)
        return self._tenant_ids[tenant]


async def open_ordinals(c: Connection, training: int, first: int, last: int) -> list[int]:
    """The open documents of a training within a range, in order."""
    return [row["ordinal"] for row in await c.fetch(SQL["open_ordinals"], training, first, last)]


def _runs(ordinals: Iterable[int]) -> list[tuple[int, int]]:
    firsts: list[int] = []
    counts: list[int] = []
    for ordinal in ordinals:
        if firsts and ordinal == firsts[-1] + counts[-1]:
            counts[-1] += 1
        else:
            firsts.append(ordinal)
            counts.append(1)
    return list(zip(firsts, counts, strict=True))
