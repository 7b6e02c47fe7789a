"""Lanes of a full fleet, on a real Postgres: a tenant that comes later gets its share before a shard of the others has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from doctrain_coordinator.core import training_turns
from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import ShardState
from testkit.core import Core, core, drained, messages
from testkit.waiting import wait_until


@pytest.fixture
async def full(postgres: str) -> AsyncIterator[Core]:
    """A worker of two lanes, whose shards and those that wait are all of tenant ``large``."""
    async with core(postgres, leads=True) as made:
        yield made


async def test_one_that_comes_to_a_full_fleet_is_next_and_a_shard_makes_room(full: Core) -> None:
    large, small = await full.tenant("large", "paid"), await full.tenant("small")
    session = (await full.open("w", lanes=2)).session
    flood = await full.training(large, "flood", 200)
    async with full.broker.consume(100) as consumer:
        granted = await messages(consumer, 4)
        for shard in granted[:2]:
            assert await full.begin(session, shard.shard, shard.number) is Begun.BEGUN
        assert not [row for row in await full.shards(flood) if row["yields"]], "nobody misses a lane"
        await full.training(small, "few", 1)
        again = await messages(consumer, 2)
        assert [shard.tenant_id for shard in again] == ["small", "large"], "what waited of the large one comes behind"
        assert await full.begin(session, granted[2].shard, granted[2].number) is Begun.NOT_YOURS

        async def told() -> list[int]:
            return [row["id"] for row in await full.shards(flood) if row["yields"] and row["state"] == ShardState.RUNNING]

        await wait_until(told)
        assert len(await told()) == 1, "one lane is missed"
        assert await full.begin(session, again[0].shard, again[0].number) is Begun.BEGUN
    await full.sums_hold(flood)


async def test_one_that_has_slots_for_a_single_shard_takes_a_single_lane(full: Core) -> None:
    large, small = await full.tenant("large", "paid"), await full.tenant("small", "free")
    session = (await full.open("w", lanes=4)).session
    flood = await full.training(large, "flood", 1_000)
    async with full.broker.consume(100) as consumer:
        for shard in (await messages(consumer, 6))[:4]:
            assert await full.begin(session, shard.shard, shard.number) is Begun.BEGUN
        many = await full.training(small, "many", 1_000)
        assert len(await full.shards(many)) > 4
        (first,) = await messages(consumer, 1)
        assert (first.tenant_id, first.max_concurrency) == ("small", 5)

        async def told() -> int:
            return sum(row["yields"] for row in await full.shards(flood))

        await wait_until(told)
        assert await full.begin(session, first.shard, first.number) is Begun.BEGUN
        assert await told() == 1
    await full.sums_hold(flood)


async def test_of_tenants_that_have_nothing_the_one_is_next_that_was_worked_for_least(full: Core) -> None:
    first, second = await full.tenant("first"), await full.tenant("second")
    session = (await full.open("w", lanes=1)).session
    await full.training(first, "t", 5)
    async with full.broker.consume(100) as consumer:
        (one,) = await messages(consumer, 1)
        assert await full.begin(session, one.shard, one.number) is Begun.BEGUN
        await full.training(first, "t2", 5)
        await full.training(second, "t", 5)
        assert next(shard.tenant_id for shard in await drained(consumer)) == "second"


async def test_a_training_behind_a_large_one_of_its_own_tenant_gets_slots_before_a_shard_has_ended(
    full: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_turns, "KEPT_SECONDS", 0.0)
    tenant = await full.tenant("acme", "free")
    session = (await full.open("w", lanes=4)).session
    large = await full.training(tenant, "large", 1_000)
    async with full.broker.consume(100) as consumer:
        (shard,) = await messages(consumer, 1)
        assert await full.begin(session, shard.shard, shard.number) is Begun.BEGUN
        small = await full.training(tenant, "small", 1)
        assert (await full.shards(small))[0]["state"] == ShardState.PENDING

        async def told() -> list[int]:
            return [row["id"] for row in await full.shards(large) if row["yields"]]

        await wait_until(told, 30)
        assert await told() == [shard.shard]
