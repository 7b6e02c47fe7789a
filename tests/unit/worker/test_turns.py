"""Turns of documents that take long."""

from __future__ import annotations

import asyncio
import tracemalloc

from doctrain_worker.pipeline.turns import Turns


async def test_the_tenant_with_fewest_turns_is_next_and_a_turn_of_one_who_left_is_not_lost() -> None:
    turns, order = Turns(2), list[str]()
    ends: dict[str, asyncio.Event] = {}

    async def take(tenant: int, name: str) -> None:
        async with turns.turn(tenant):
            order.append(name)
            await ends.setdefault(name, asyncio.Event()).wait()

    tasks = {}
    for tenant, name in ((1, "a"), (1, "b"), (1, "c"), (1, "d"), (2, "e"), (2, "f")):
        tasks[name] = asyncio.create_task(take(tenant, name))
        await asyncio.sleep(0)
    assert order == ["a", "b"]
    ends["a"].set()
    await asyncio.wait({tasks["a"]})
    await asyncio.sleep(0)
    assert order == ["a", "b", "e"]
    tasks["c"].cancel()
    await asyncio.wait({tasks["c"]})
    for name in "bedf":
        ends.setdefault(name, asyncio.Event()).set()
    await asyncio.wait({task for name, task in tasks.items() if name != "c"}, timeout=5)
    assert sorted(order) == ["a", "b", "d", "e", "f"]


async def test_tenants_that_are_gone_are_not_remembered() -> None:
    turns = Turns(1)

    async def come(first: int) -> None:
        for tenant in range(first, first + 10_000):
            async with turns.turn(tenant):
                pass

    await come(0)
    tracemalloc.start()
    try:
        await come(10_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
