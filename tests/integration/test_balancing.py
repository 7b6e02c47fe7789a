"""Shards of a worker that has everything go on at one that joined, on a real Postgres."""

from __future__ import annotations

import logging

import pytest

from doctrain_coordinator.core import balance
from doctrain_coordinator.core.ledger import Begun
from testkit.core import core, messages
from testkit.waiting import wait_until


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
            for shard in await messages(consumer, shards):  # of a thousand documents all thirty slots
                assert await one.begin(first, shard.shard, shard.number) is Begun.BEGUN

            async def told() -> int:
                return sum(row["yields"] for row in await one.shards(training))

            assert await told() == 0
            await one.open("second", lanes=8)
            await wait_until(told)
            assert await told() == shards // 2
            assert said in caplog.text
        await one.sums_hold(training)
