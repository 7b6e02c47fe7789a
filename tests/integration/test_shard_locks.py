"""Transactions that lock shards wait for each other, which is no outage of Postgres."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.errors import StoreBusyError, StoreUnavailableError
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.postgres import Connection, LockTimeoutError, connections


async def test_who_waits_in_vain_for_others_hears_so_and_of_no_outage(
    postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "OUTAGE", Outage("Postgres"))
    pool = await mesh_postgres.create_pool(postgres, size=2, name="test")
    locks, began, go_on = ShardLocks(pool, at_once=1), asyncio.Event(), asyncio.Event()

    async def until_told(_: Connection) -> str:
        began.set()
        await go_on.wait()
        return "done"

    async def locked_by_others(_: Connection) -> str:
        raise LockTimeoutError

    async def without_end(c: Connection) -> None:
        await c.execute("select pg_sleep(60)")

    try:
        first = asyncio.ensure_future(locks.transact("going first", 60.0, until_told))
        await began.wait()
        with pytest.raises(StoreBusyError):
            await locks.transact("coming second", 0.1, until_told)
        go_on.set()
        assert await first == "done"
        with pytest.raises(StoreBusyError):
            await locks.transact("meeting a lock", 0.3, locked_by_others)
        assert "away" not in caplog.text
        with pytest.raises(StoreUnavailableError):
            await locks.transact("asking", 0.1, without_end)
        assert "Postgres is away" in caplog.text
    finally:
        await mesh_postgres.close_pool(pool)
