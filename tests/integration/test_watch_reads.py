"""Whose turn it is to read documents for its watches."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.postgres import sizes
from testkit.waiting import wait_until


async def test_a_tenant_reads_once_at_a_time_and_another_is_next(postgres: str) -> None:
    pool = await mesh_postgres.create_pool(postgres, size=sizes.WATCHES, name="test")
    reads, done = WatchReads(pool), list[str]()

    async def read(tenant: int, name: str) -> None:
        async with reads.connection(tenant, "reading") as c:
            await c.fetchval("select 1")
            done.append(name)

    async with AsyncExitStack() as first, asyncio.TaskGroup() as group:
        await first.enter_async_context(reads.connection(1, "reading"))
        for number in range(20):
            group.create_task(read(1, f"its {number}"))
        await read(2, "another's")
        assert done == ["another's"]
        await first.aclose()
        await wait_until(lambda: len(done) == 21)
    await mesh_postgres.close_pool(pool)
