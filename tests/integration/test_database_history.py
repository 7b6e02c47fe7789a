"""A database that came back: as it was, or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from doctrain_coordinator.store.database import Database
from doctrain_mesh.errors import StoreRestoredError, StoreUnavailableError
from doctrain_mesh.postgres import close_connection
from testkit.postgres import PostgresServer
from testkit.server import free_port
from testkit.waiting import wait_until


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


TABLES = (
    "create table session ()",
    "create table mark (process bigint primary key, looks bigint not null, marked_at timestamptz not null default now())",
)


async def reach(database: Database) -> None:
    await close_connection(await database.connect())


async def test_a_killed_postgres_comes_back_as_it_was(own_postgres: PostgresServer) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        database = Database(url)
        for _ in range(3):
            await reach(database)
            await own_postgres.restart()
        await reach(database)


async def test_an_earlier_state_is_told_at_the_next_connection(own_postgres: PostgresServer, tmp_path: Path) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        database = Database(url)
        await asyncio.to_thread(own_postgres.back_up, tmp_path / "backup")
        await execute(url, "create table more ()")
        await reach(database)
        await asyncio.to_thread(own_postgres.restore, tmp_path / "backup")
        for _ in range(2):
            with pytest.raises(StoreRestoredError, match="not where it was"):
                await reach(database)
        await reach(Database(url))


async def test_an_earlier_state_whose_log_has_grown_is_told_too(own_postgres: PostgresServer, tmp_path: Path) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        database = Database(url)
        pool = await database.create_pool(size=1, name="test")
        await asyncio.to_thread(own_postgres.back_up, tmp_path / "backup")
        watching = asyncio.create_task(database.watch(pool))

        async def marked() -> bool:
            async with asyncio.timeout(20):
                connection = await asyncpg.connect(url)
                try:
                    return bool(await connection.fetchval("select count(*) from mark"))
                finally:
                    await connection.close()

        await wait_until(marked)
        await asyncio.to_thread(own_postgres.restore, tmp_path / "backup", start=False)
        # Whoever restores works on it before it is opened to others.
        known, own_postgres.port = own_postgres.port, free_port()
        await asyncio.to_thread(own_postgres.start)
        apart = own_postgres.url(url.rpartition("/")[2])
        await execute(apart, *["create table more ()", "drop table more", "select pg_switch_wal()"] * 4)
        own_postgres.kill()
        own_postgres.port = known
        await asyncio.to_thread(own_postgres.start)
        with pytest.raises(StoreRestoredError):
            async with asyncio.timeout(20):
                await watching
        pool.terminate()


async def test_a_replica_that_was_not_promoted_is_no_database(own_postgres: PostgresServer) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        own_postgres.kill()
        (own_postgres.folder / "data/standby.signal").touch(mode=0o644)
        await own_postgres.restart()
        database = Database(url)
        try:
            with pytest.raises(StoreUnavailableError, match="was not promoted"):
                await reach(database)
            with pytest.raises(StoreUnavailableError, match="was not promoted"):
                await database.create_pool(size=1, name="test")
        finally:
            await execute(url, "select pg_promote()")
        await reach(database)


async def test_a_replica_that_was_promoted_is_not_what_it_replaced(own_postgres: PostgresServer) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        database = Database(url)
        await reach(database)
        own_postgres.kill()
        (own_postgres.folder / "data/standby.signal").touch(mode=0o644)
        await own_postgres.restart()
        await execute(url, "select pg_promote()")
        with pytest.raises(StoreRestoredError):
            await reach(database)


async def test_tables_that_were_restored_under_open_connections_are_noticed(own_postgres: PostgresServer) -> None:
    async with own_postgres.database(empty=True) as url:
        await execute(url, *TABLES)
        database = Database(url)
        pool = await database.create_pool(size=1, name="test")
        try:
            watching = asyncio.create_task(database.watch(pool))
            await execute(url, "drop table session", "create table session ()")
            with pytest.raises(StoreRestoredError):
                async with asyncio.timeout(20):
                    await watching
        finally:
            pool.terminate()
