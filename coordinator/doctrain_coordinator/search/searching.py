"""Finds the passages of a tenant's documents that answer a query: by vectors and by words, fused in one statement (docs/adr/0014)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from doctrain_coordinator.core.search_path import WANTED, looks_at_all
from doctrain_coordinator.search.query_model import QueryModel
from doctrain_coordinator.search.vector_index import index_name
from doctrain_coordinator.store import tenant_rows
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, statements
from doctrain_mesh.words import condition, queried

SQL = statements.of(__name__)
SEARCH_SECONDS = 10.0
CONNECTION_SETTINGS = {
    # The plan follows from the filter, and from how much there is.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "hnsw.ef_search": str(2 * WANTED),
    "hnsw.iterative_scan": "relaxed_order",
}
"""Of the connections that search."""

MOST_WORDS = 32
MOST_HOLDING = 1000
"""Chunks that are looked at for one word."""
MOST_COUNTED = 20_000
"""Documents that are counted to know how much there is to search."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents to look in; what is empty allows all."""

    task_ids: Sequence[str] = ()
    document_ids: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    media_types: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether it allows every document."""
        return not (self.task_ids or self.document_ids or self.metadata or self.media_types)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: by vectors, by words or both, and how many passages at most."""

    query: str
    by_vectors: bool
    by_words: bool
    most: int
    filter: Filter


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage: where in which document it is (characters of its part), and a ``score`` up to 1. ``metadata`` is JSON."""

    document_id: str
    task_id: str
    part: str
    page: int | None
    heading: str
    text: str
    start_offset: int
    end_offset: int
    score: float
    metadata: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Found:
    """Passages, the best first, and the words that were looked for."""

    hits: Sequence[Hit] = ()
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a filter names and the tenant does not have."""

    task_ids: Sequence[str] = ()
    document_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What a tenant's index holds; ``stale`` are documents whose vectors are not of ``model``, that of queries."""

    model: str
    documents: int
    chunks: int
    stale: int
    updated_at: datetime | None


class Searching:
    """Searches.

    Args:
        pool: with ``CONNECTION_SETTINGS``.
        model: what queries are embedded with.
    """

    def __init__(self, pool: Pool, model: QueryModel) -> None:
        self._pool, self._model = pool, model

    async def search(self, tenant: int, wanted: Wanted) -> Found:
        """The best passages. Raises UnavailableError."""
        words = queried(wanted.query, MOST_WORDS)
        allowed = await self._allowed(tenant, wanted.filter)
        if not words or allowed is None:
            return Found()
        embedder = await self._model.opened()
        async with postgres.acquired(self._pool, "looking at the index", seconds=SEARCH_SECONDS) as c:
            extent = await c.fetchrow(SQL["extent"], tenant, *allowed, MOST_COUNTED, index_name(embedder.name))
        assert extent is not None
        if not extent["chunks"]:
            return Found()
        vector = await self._model.vector(wanted.query)
        async with (
            postgres.acquired(self._pool, "searching", seconds=SEARCH_SECONDS) as c,
            c.transaction(isolation="repeatable_read", readonly=True),
        ):
            found = await c.fetch(
                statement(embedder.dimensions, at_all=looks_at_all(extent["chunks"], extent["all_chunks"])),
                tenant,
                embedder.name,
                vector,
                *allowed,
                [condition(tenant, word) for word in words] if wanted.by_words else [],
                wanted.filter.empty,
                MOST_HOLDING,
                float(extent["chunks"]),
                WANTED,
                wanted.most,
                WANTED if wanted.by_vectors else 0,
                wanted.by_vectors + wanted.by_words,
            )
            await tenant_rows.only(c, tenant)
            rows = await c.fetch(SQL["passages"], tenant, *([row[key] for row in found] for key in ("document_id", "seq", "score")))
        return Found([Hit(**row) for row in rows], words)

    async def unknown(self, tenant: int, chosen: Filter) -> Unknown:
        """What the filter names in vain. Raises UnavailableError."""
        if not (chosen.task_ids or chosen.document_ids):
            return Unknown()
        async with tenant_rows.acquired(self._pool, tenant, "reading what a filter names", seconds=SEARCH_SECONDS) as c:
            trainings = {row["task_id"] for row in await c.fetch(SQL["trainings"], tenant, list(chosen.task_ids))}
            documents = {row["document_id"] for row in await c.fetch(SQL["known_documents"], tenant, list(chosen.document_ids))}
        return Unknown(
            [task_id for task_id in chosen.task_ids if task_id not in trainings],
            [document_id for document_id in chosen.document_ids if document_id not in documents],
        )

    async def size(self, tenant: int) -> IndexSize:
        """How much there is. Raises UnavailableError."""
        model = (await self._model.opened()).name
        async with postgres.acquired(self._pool, "counting the index", seconds=SEARCH_SECONDS) as c:
            row = await c.fetchrow(SQL["index_size"], tenant, model)
        assert row is not None
        return IndexSize(model, **row)

    async def _allowed(self, tenant: int, chosen: Filter) -> tuple[list[int] | None, list[str] | None, str | None, list[str] | None] | None:
        """The filter as the statements take it; None when it allows nothing."""
        trainings: list[int] | None = None
        if chosen.task_ids:
            async with tenant_rows.acquired(self._pool, tenant, "reading trainings", seconds=SEARCH_SECONDS) as c:
                trainings = [row["id"] for row in await c.fetch(SQL["trainings"], tenant, list(chosen.task_ids))]
            if not trainings:
                return None
        metadata = json.dumps(dict(chosen.metadata)) if chosen.metadata else None
        return trainings, list(chosen.document_ids) or None, metadata, list(chosen.media_types) or None


@cache
def statement(dimensions: int, *, at_all: bool) -> str:
    """The search of vectors of so many dimensions; ``at_all``: every allowed chunk is looked at, without the index of vectors."""
    near = SQL["near_by_scan" if at_all else "near_by_index"]
    return SQL["search"].replace("{near}", near).replace("{dimensions}", str(dimensions))
