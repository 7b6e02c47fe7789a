"""Who leads, on a real Postgres: a leader that stands still loses its lock, and can do nothing more with what it had."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest

from doctrain_coordinator.dispatch import leadership
from doctrain_coordinator.dispatch.leadership import Leadership
from doctrain_coordinator.store.database import Database
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.postgres import Connection
from testkit.waiting import wait_until

FIRST, SECOND = 1, 2


@pytest.mark.parametrize("within_transaction", [False, True])
async def test_a_frozen_leader_is_followed_by_another_and_writes_no_more(
    postgres: str, monkeypatch: pytest.MonkeyPatch, within_transaction: bool
) -> None:
    """A process that stands still says nothing to Postgres, and its machine keeps its connection open: as here."""
    monkeypatch.setattr(leadership, "IDLE_SECONDS", 1)
    observer = await asyncpg.connect(postgres)
    await observer.execute("create table written (leader int)")
    frozen, thawed = asyncio.Event(), asyncio.Event()

    async def stand_still(connection: Connection) -> None:
        async with mesh_postgres.available("granting", connection), contextlib.AsyncExitStack() as stack:
            if within_transaction:
                await stack.enter_async_context(connection.transaction())
                await connection.execute("insert into written values ($1)", FIRST)
            frozen.set()
            await thawed.wait()
            await connection.execute("insert into written values ($1)", FIRST)

    async def work(connection: Connection) -> None:
        async with mesh_postgres.available("granting", connection):
            while True:
                await connection.execute("insert into written values ($1)", SECOND)
                await asyncio.sleep(0.1)

    first, second = Leadership(Database(postgres), stand_still), Leadership(Database(postgres), work)
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(first.run())
        await frozen.wait()
        following = group.create_task(second.run())
        await wait_until(lambda: second.leading, 30)
        assert first.leading, "it knows nothing of it"
        thawed.set()
        await wait_until(lambda: not first.leading)
        assert second.leading
        leading.cancel()
        following.cancel()
    assert {row["leader"] for row in await observer.fetch("select leader from written")} == {SECOND}
    await observer.close()
