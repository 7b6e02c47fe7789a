"""Widths of shards that run, on a real Postgres: within the limit as it is now, and never counted for less than may run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch.resizing import Resizings
from doctrain_coordinator.tracking.sessions import Attachment
from doctrain_mesh import postgres
from testkit.core import Core, core, results
from testkit.waiting import wait_until


@pytest.fixture
async def leading(postgres: str) -> AsyncIterator[Core]:
    async with core(postgres, leads=True) as made:
        yield made


@pytest.fixture
async def one(postgres: str) -> AsyncIterator[Core]:
    """Without a leader."""
    async with core(postgres) as made:
        yield made


async def allow(one: Core, slots: int, plan: str = "free") -> None:
    """As an operator changes a plan."""
    await one.pool.execute("update plan set slots = $1, burst_slots = $1, allowed = $1 where name = $2", slots, plan)


async def begun(one: Core, attachment: Attachment, training: int) -> list[tuple[int, int]]:
    """Begins every shard that is granted of the training."""
    await wait_until(lambda: granted(one, training))
    keys = [(row["id"], row["number"]) for row in await granted(one, training)]
    for key in keys:
        assert await one.begin(attachment.session, *key) is Begun.BEGUN
    return keys


async def granted(one: Core, training: int) -> list[dict[str, Any]]:
    return [row for row in await one.shards(training) if row["state"] == ShardState.DISPATCHED]


async def width(one: Core, shard: int) -> tuple[int, int | None, int]:
    row = await one.row("shard", shard)
    return row["width"], row["narrow_to"], row["resize"]


@asynccontextmanager
async def look(one: Core) -> AsyncIterator[Resizings]:
    """What the leader does once a poll, by hand."""
    connection = await postgres.connect(one.url)
    try:
        yield Resizings(connection, 5)
    finally:
        await postgres.close_connection(connection)


async def test_a_shard_that_was_granted_what_little_was_free_gets_what_becomes_free(leading: Core) -> None:
    tenant, at = await leading.tenant("acme"), await leading.open("w")
    ((first, number),) = await begun(leading, at, await leading.training(tenant, "first", 4))
    (key,) = await begun(leading, at, await leading.training(tenant, "second", 10))
    assert await width(leading, key[0]) == (1, None, 0)
    assert (await leading.beat(at, (first, number), key)).resizes == []
    assert (await leading.report(at.session, first, number, results(0, 4)))[1]
    await wait_until(lambda: _is(leading, key[0], (5, None, 1)))
    assert (await leading.beat(at, key)).resizes == [(*key, 5, 1)]
    assert (await leading.beat(at, key, resize=1)).resizes == []


async def _is(one: Core, shard: int, wanted: tuple[int, int | None, int]) -> bool:
    return await width(one, shard) == wanted


async def test_a_lowered_plan_is_counted_once_the_worker_has_confirmed_it_over_its_own_stream(leading: Core) -> None:
    tenant, at = await leading.tenant("acme"), await leading.open("w")
    (key,) = await begun(leading, at, await leading.training(tenant, "t", 10))
    await allow(leading, 2)
    await wait_until(lambda: _is(leading, key[0], (5, 2, 1)))
    assert await leading.used(tenant) == 5
    for _ in range(2):  # also a worker that knows of no widths, which is never counted for less
        assert (await leading.beat(at, key)).resizes == [(*key, 2, 1)]
        assert await leading.used(tenant) == 5
    newer = await leading.attach("w", at.session)
    assert newer is not None
    assert (await leading.beat(at, key, resize=1)).beat is None
    assert await leading.used(tenant) == 5
    assert (await leading.beat(newer, key, resize=1)).resizes == []
    assert await width(leading, key[0]) == (2, None, 1)
    await allow(leading, 4)
    await wait_until(lambda: _is(leading, key[0], (4, None, 2)))
    await leading.beat(newer, key, resize=1)
    assert await width(leading, key[0]) == (4, None, 2), "what was confirmed before says nothing of now"


async def test_what_one_slot_each_does_not_fit_goes_back_first_what_nobody_began(leading: Core) -> None:
    tenant, at = await leading.tenant("acme", "paid"), await leading.open("w", lanes=6)
    training = await leading.training(tenant, "t", 40)
    await wait_until(lambda: _granted_all(leading, training, 4))
    keys = [(row["id"], row["number"]) for row in await leading.shards(training)]
    for key in keys[:3]:
        assert await leading.begin(at.session, *key) is Begun.BEGUN
    await allow(leading, 2, "paid")

    async def states() -> list[tuple[int, bool, int | None]]:
        return [(row["state"], row["yields"], row["narrow_to"]) for row in await leading.shards(training)]

    running = ShardState.RUNNING
    wanted = [(running, False, 1), (running, False, 1), (running, True, None), (ShardState.PENDING, False, None)]
    await wait_until(lambda: _same(states, wanted))
    standing = await leading.beat(at, *keys[:3])
    assert [order[:2] for order in standing.orders] == [keys[2]]


async def _granted_all(one: Core, training: int, count: int) -> bool:
    return len(await granted(one, training)) == count


async def _same(found: Any, wanted: Any) -> bool:
    return bool(await found() == wanted)


async def test_a_grant_that_nobody_began_is_narrowed_at_once(one: Core) -> None:
    tenant = await one.tenant("acme")
    (row,) = await one.shards(await one.training(tenant, "t", 10))
    await one.grant(row["id"])
    await allow(one, 3)
    async with look(one) as resizings:
        await resizings.make()
    assert await width(one, row["id"]) == (3, None, 1)


async def test_a_widening_waits_for_the_tenants_lock_and_counts_what_was_granted_meanwhile(one: Core) -> None:
    tenant, at = await one.tenant("acme"), await one.open("w")
    wide, _ = await one.running_shard(at.session, await one.training(tenant, "t", 10), width=1)
    (other,) = await one.shards(await one.training(tenant, "u", 10))
    await one.pool.execute("update shard set not_before = 'infinity' where id = $1", other["id"])
    async with look(one) as resizings, one.pool.acquire() as c:
        async with c.transaction():
            await c.execute("select 1 from tenant where id = $1 for no key update", tenant)
            making = asyncio.create_task(resizings.make())
            await wait_until(one.has_a_wait_for_a_lock)
            await c.execute("update shard set state = 1, number = 1, width = 3 where id = $1", other["id"])
        await making
        assert await one.used(tenant) == 4, "it was to be widened by four, of which three are gone"
        await resizings.make()
    assert await one.used(tenant) == 5
    assert await width(one, wide) == (2, None, 1)


async def test_a_shard_that_somebody_has_locked_delays_neither_the_leader_nor_a_heartbeat(one: Core) -> None:
    tenant, at = await one.tenant("acme"), await one.open("w")
    key = await one.running_shard(at.session, await one.training(tenant, "t", 10))
    await allow(one, 2)
    async with look(one) as resizings, one.pool.acquire() as c:
        async with asyncio.timeout(5), c.transaction():
            await c.execute("select 1 from shard where id = $1 for update", key[0])
            await resizings.make()
        assert await width(one, key[0]) == (5, None, 0)
        await resizings.make()
        async with asyncio.timeout(5), c.transaction():
            await c.execute("select 1 from shard where id = $1 for update", key[0])
            assert (await one.beat(at, key, resize=1)).resizes == []
        assert await width(one, key[0]) == (5, 2, 1)
    await one.beat(at, key, resize=1)
    assert await width(one, key[0]) == (2, None, 1)


async def test_a_next_grant_knows_nothing_of_the_one_before(leading: Core) -> None:
    tenant, at = await leading.tenant("acme"), await leading.open("w")
    training = await leading.training(tenant, "t", 10)
    (key,) = await begun(leading, at, training)
    await allow(leading, 2)
    await wait_until(lambda: _is(leading, key[0], (5, 2, 1)))
    await leading.stream_ends(at)
    await leading.open("w")
    await wait_until(lambda: granted(leading, training))
    assert await width(leading, key[0]) == (2, None, 0)
