"""What a real Postgres and its driver raise, and which of it is an absent store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.errors import StoreBusyError, StoreUnavailableError
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.postgres import Connection, Pool, connections


@pytest.fixture
async def pool(postgres: str) -> AsyncIterator[Pool]:
    made = await mesh_postgres.create_pool(postgres, size=1, name="test")
    try:
        yield made
    finally:
        await mesh_postgres.close_pool(made)


async def test_two_operations_at_once_on_one_connection_are_a_mistake_and_no_outage(pool: Pool) -> None:
    with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
        async with mesh_postgres.acquired(pool, "reading") as c:
            await asyncio.gather(c.fetchval("select pg_sleep(0.2)"), c.fetchval("select 1"))


async def test_a_parameter_that_no_column_holds_is_refused_data_and_no_outage(pool: Pool) -> None:
    with pytest.raises(mesh_postgres.DataError):
        async with mesh_postgres.acquired(pool, "reading") as c:
            await c.fetchval("select $1::int", 2**40)


async def test_a_connection_that_was_lost_is_an_absent_store_from_its_next_statement_on(pool: Pool, postgres: str) -> None:
    async def after_losing_it(c: Connection) -> None:
        c.terminate()
        await c.fetchval("select 1")

    with pytest.raises(StoreUnavailableError):
        async with mesh_postgres.acquired(pool, "reading") as pooled:
            await after_losing_it(pooled)
    own = await mesh_postgres.connect(postgres)
    with pytest.raises(StoreUnavailableError):
        async with mesh_postgres.available("reading", own):
            await after_losing_it(own)


async def test_a_pool_that_is_closed_is_an_absent_store(pool: Pool) -> None:
    await mesh_postgres.close_pool(pool)
    with pytest.raises(StoreUnavailableError):
        async with mesh_postgres.acquired(pool, "reading"):
            pass


@pytest.mark.parametrize("own_seconds", [0.1, 30.0])
async def test_who_waits_in_vain_for_a_connection_that_others_use_hears_of_no_outage(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, own_seconds: float
) -> None:
    monkeypatch.setattr(connections, "OUTAGE", Outage("Postgres"))
    monkeypatch.setattr(connections, "ACQUIRE_SECONDS", 0.2)
    async with mesh_postgres.acquired(pool, "reading"):
        with pytest.raises(StoreBusyError, match="were in use") as busy:
            async with mesh_postgres.acquired(pool, "writing", seconds=own_seconds):
                pass
    assert busy.value.retry_after_seconds == 1.0
    assert "away" not in caplog.text
    async with mesh_postgres.acquired(pool, "writing") as c:
        assert await c.fetchval("select 1") == 1
        with pytest.raises(StoreUnavailableError) as overdue:
            async with mesh_postgres.available("reading", c), asyncio.timeout(0.1):
                await c.execute("select pg_sleep(60)")
    assert not isinstance(overdue.value, StoreBusyError)
    assert "Postgres is away" in caplog.text


async def test_a_rollback_after_an_overdue_statement_is_an_absent_store(pool: Pool) -> None:
    with pytest.raises(StoreUnavailableError):
        async with mesh_postgres.acquired(pool, "reading", seconds=0.1) as c, c.transaction():
            await c.execute("select pg_sleep(60)")


async def test_transactions_that_wait_for_each_other_are_no_outage(postgres: str, caplog: pytest.LogCaptureFixture) -> None:
    one, other = [await mesh_postgres.connect(postgres) for _ in range(2)]
    await one.execute("create table t (id int primary key)")
    await one.execute("insert into t values (1), (2)")
    has_one, has_two = asyncio.Event(), asyncio.Event()

    async def both(c: Connection, first: int, second: int, mine: asyncio.Event, theirs: asyncio.Event) -> None:
        async with mesh_postgres.available("waiting in a circle", c), c.transaction():
            await c.execute("select from t where id = $1 for update", first)
            mine.set()
            await theirs.wait()
            await c.execute("select from t where id = $1 for update", second)

    ended = await asyncio.gather(both(one, 1, 2, has_one, has_two), both(other, 2, 1, has_two, has_one), return_exceptions=True)
    assert [type(end) for end in ended if end is not None] == [StoreUnavailableError]
    assert "undid a transaction that waited in a circle with another" in caplog.text
    assert "away" not in caplog.text
    for connection in (one, other):
        await mesh_postgres.close_connection(connection)
