"""Shards of a worker that has everything go on at one that joined, on a real Postgres."""

from __future__ import annotations

import asyncio
import logging

import pytest

from doctrain_coordinator.core import balance
from doctrain_coordinator.core.ledger import Begun
from doctrain_mesh.ports import Consumer
from testkit.core import Core, core, messages
from testkit.waiting import wait_until

SETTLED_SECONDS = 4.0


async def begin(one: Core, session: int, consumer: Consumer, count: int) -> None:
    """The next so many shards run in that session."""
    for shard in await messages(consumer, count):
        assert await one.begin(session, shard.shard, shard.number) is Begun.BEGUN


async def told(one: Core, *trainings: int) -> int:
    """How many shards were told to yield."""
    return sum([row["yields"] for training in trainings for row in await one.shards(training)])


@pytest.mark.parametrize(
    ("documents", "shards", "said"), [(1_000, 6, "3 shards go on at workers that have fewer."), (20, 2, "1 shard goes on at workers")]
)
async def test_a_worker_that_joins_gets_half_of_what_a_plan_allows(
    postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, documents: int, shards: int, said: str
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(balance, "SETTLED_SECONDS", 0.0)
    async with core(postgres, leads=True) as one:
        tenant = await one.tenant("acme", "paid")
        first = (await one.open("first", lanes=8)).session
        training = await one.training(tenant, "t", documents)
        async with one.broker.consume(100) as consumer:
            await begin(one, first, consumer, shards)  # of a thousand documents all thirty slots
            assert await told(one, training) == 0
            await one.open("second", lanes=8)
            await wait_until(lambda: told(one, training))
            assert await told(one, training) == shards // 2
            assert said in caplog.text
        await one.sums_hold(training)


async def test_what_a_worker_has_had_for_long_while_it_was_alone_goes_at_once_to_one_that_comes(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "SETTLED_SECONDS", SETTLED_SECONDS)
    async with core(postgres, leads=True) as one:
        tenant = await one.tenant("acme", "paid")
        first = (await one.open("first", lanes=8)).session
        training = await one.training(tenant, "t", 1_000)
        async with one.broker.consume(100) as consumer:
            await begin(one, first, consumer, 6)
            await asyncio.sleep(SETTLED_SECONDS + 2)
            await one.open("second", lanes=8)
            await wait_until(lambda: told(one, training), SETTLED_SECONDS - 1)


async def test_more_shards_follow_while_the_documents_of_those_that_yield_have_not_ended(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "SETTLED_SECONDS", 0.0)
    async with core(postgres, leads=True) as one:
        tenant = await one.tenant("acme", "paid")
        first = (await one.open("first", lanes=8)).session
        training = await one.training(tenant, "t", 40)
        async with one.broker.consume(100) as consumer:
            await begin(one, first, consumer, 4)
            await one.open("second", lanes=8)
            await wait_until(lambda: told(one, training))
            assert await told(one, training) == 2
            later = await one.training(tenant, "later", 20)
            await begin(one, first, consumer, 2)

            async def three_are_told() -> bool:
                return await told(one, training, later) == 3

            await wait_until(three_are_told)
