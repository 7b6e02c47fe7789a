"""The statements of search and delete use their indexes, and what is near is found whichever way it is looked for."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from doctrain_coordinator.search import deleting, remains
from doctrain_coordinator.search.searching import CONNECTION_SETTINGS, MOST_COUNTED, SQL, statement
from doctrain_coordinator.search.vector_index import SQL as VECTOR_INDEX
from doctrain_coordinator.search.vector_index import index_name
from testkit.postgres import PostgresServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("search-plans"), pytest.mark.timeout(120)]

MODEL, DIMENSIONS = "a model's name", 4
LARGE, SMALL = 1, 2
CHUNKS = {LARGE: 12_000, **dict.fromkeys(range(SMALL, 22), 300)}
"""Of each tenant, twenty a document."""

FILL = """
insert into chunk (tenant, document_id, seq, training, start_offset, end_offset, model, embedding, words, text)
select $1::bigint, 'd' || n / 20, n % 20, $1::bigint, 0, 4, $3, array[random(), random(), random(), random()]::real[]::vector::halfvec,
    array_to_tsvector(array[$1::bigint || ' all', $1::bigint || ' w' || n % 100]), 'text'
from generate_series(0, $2::int - 1) as n
"""
FILL_DOCUMENTS = """
insert into indexed_document (tenant, document_id, training, index_order, model, chunk_count, metadata)
select $1::bigint, 'd' || n, $1::bigint, $1::bigint, $3, 20, jsonb_build_object('year', (n % 10)::text)
from generate_series(0, $2::int / 20 - 1) as n
"""
FILL_TRAININGS = """
with made as (
    insert into training (id, tenant, task_id, request_hash, sealed, total) overriding system value
    select n, n, 't', '', true, 0 from generate_series(1, 21) as n returning id
)
insert into document (training, ordinal, document_id, uri, metadata)
select id, n, 'd' || n, 'blob://' || repeat(md5(n::text), 2), '{}' from made, generate_series(0, 299) as n
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(shared_postgres: PostgresServer) -> AsyncIterator[asyncpg.Connection[Any]]:
    async with shared_postgres.database() as url:
        connection = await asyncpg.connect(url, server_settings={**CONNECTION_SETTINGS, "enable_seqscan": "off"})
        await connection.execute("select setseed(0.5)")
        for tenant, chunks in CHUNKS.items():
            await connection.execute(FILL, tenant, chunks, MODEL)
            await connection.execute(FILL_DOCUMENTS, tenant, chunks, MODEL)
        await connection.execute(FILL_TRAININGS)
        await connection.execute(await connection.fetchval(VECTOR_INDEX["create"], index_name(MODEL), DIMENSIONS, MODEL))
        await connection.execute("analyze")
        yield connection
        await connection.close()


def asked(tenant: int, vector: list[float], *, document_ids: list[str] | None = None, metadata: str | None = None) -> list[Any]:
    """The arguments of a search."""
    unfiltered = document_ids is None and metadata is None
    words = [f"'{tenant} w7'", f"'{tenant} all'"]
    return [tenant, MODEL, str(vector), None, document_ids, metadata, None, words, unfiltered, 1000, 12_000.0, 100, 10, 100, 2]


async def plan(database: asyncpg.Connection[Any], text: str, arguments: list[Any]) -> str:
    return "\n".join(row[0] for row in await database.fetch(f"explain {text}", *arguments))


async def test_a_large_tenants_search_follows_the_index_of_vectors(database: asyncpg.Connection[Any]) -> None:
    for options in ({}, {"metadata": '{"year": "3"}'}):
        found = await plan(database, statement(DIMENSIONS, at_all=False), asked(LARGE, [0.5] * DIMENSIONS, **options))  # type: ignore[arg-type]
        assert f"Index Scan using {index_name(MODEL)}" in found
        assert "Bitmap Index Scan on chunk_words" in found
        assert "Tid Scan on chunk" in found
        assert "Seq Scan on chunk" not in found


async def test_a_small_tenants_search_looks_at_its_own_chunks_only(database: asyncpg.Connection[Any]) -> None:
    for options in ({}, {"document_ids": ["d3"]}, {"metadata": '{"year": "3"}'}):
        found = await plan(database, statement(DIMENSIONS, at_all=True), asked(SMALL, [0.5] * DIMENSIONS, **options))
        assert "chunk_near" not in found
        assert "chunk_pkey" in found
        assert "Bitmap Index Scan on chunk_words" in found
        assert "Seq Scan" not in found


async def test_counting_and_deleting_read_no_more_than_what_is_theirs(database: asyncpg.Connection[Any]) -> None:
    extent = await plan(database, SQL["extent"], [SMALL, None, None, None, None, MOST_COUNTED, index_name(MODEL)])
    assert "Index Cond: (tenant = '2'::bigint)" in extent
    assert "indexed_document_of_training" in await plan(database, deleting.SQL["documents_of"], [SMALL, 2, 50])
    marked = await plan(database, deleting.SQL["delete_documents"], [SMALL, ["d1"], 100, None, [None]])
    assert "document_by_id" in marked
    assert "hashed SubPlan" not in marked
    unshared = await plan(database, remains.SQL["unshared"], [SMALL, ["0" * 64], datetime.now(UTC)])
    assert "document_by_id" in await plan(database, remains.SQL["blobs"], [SMALL, ["d1"], 100, [None]])
    assert "document_of_blob" in unshared
    assert "training_of_blob" in unshared
    assert "Seq Scan" not in unshared
    assert "indexed_document_pkey" in unshared
    assert "deleted_document_pkey" in unshared
    assert "deleted_document_due" in await plan(database, remains.SQL["take_due"], [50, 600.0])
    assert "document_by_id" in await plan(database, remains.SQL["forget_metadata"], [SMALL, ["d1"], 100])
    assert "chunk_pkey" in await plan(database, deleting.SQL["delete_chunks"], [SMALL, ["d1"]])


def distance(one: list[float], other: list[float]) -> float:
    return 1 - sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize(("tenant", "at_all", "least"), [(SMALL, True, 0.99), (LARGE, False, 0.9)])
async def test_the_nearest_are_found(database: asyncpg.Connection[Any], tenant: int, at_all: bool, least: float) -> None:
    """Of a small tenant all of them, but for two that are equally far once rounded to half precision."""
    rows = await database.fetch("select document_id, seq, embedding::text as vector from chunk where tenant = $1", tenant)
    everything = {(row["document_id"], row["seq"]): [float(number) for number in row["vector"][1:-1].split(",")] for row in rows}
    chance = random.Random(1)
    shares = []
    for _ in range(10):
        vector = [chance.random() for _ in range(DIMENSIONS)]
        arguments = asked(tenant, vector)
        arguments[7], arguments[12] = [], 20
        found = await database.fetch(
            statement(DIMENSIONS, at_all=at_all).replace("select c.document_id,", "select c.seq, c.document_id,"), *arguments
        )
        nearest = sorted(everything, key=lambda key: distance(vector, everything[key]))[:20]
        shares.append(len({(row["document_id"], row["seq"]) for row in found} & set(nearest)) / 20)
    assert sum(shares) / len(shares) >= least
