"""Workers that are cut off from the broker alone: they beat, nothing that is handed out reaches them, and nobody waits for their lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import doctrain
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from doctrain_mesh.ports import Consumer
from doctrain_worker import app
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext
from testkit.coordinator import Coordinators, coordinators
from testkit.subscriptions import subscribed, unsubscribe
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(120)]


class Timed:
    """A processor whose documents take a while; ``started`` are their tenants."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        self.started.append(shard.tenant_id)
        await asyncio.sleep(0.3)
        return DONE


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, beat_seconds=0.1, lease_seconds=5.0) as running:
        yield running


@pytest.fixture
async def operator(served: Coordinators) -> doctrain.AsyncClient:
    return await served.client(await served.key(3))


async def named(served: Coordinators, name: str, processor: Any, lanes: int) -> AbstractAsyncContextManager[app.Running]:
    """A worker of that name."""
    key = await served.key(2)
    return worker(served.broker, processor, served.running[0].address, name=name, worker_key=key, registry=served.registry, lanes=lanes)


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=count)


async def one_subscribed(served: Coordinators) -> Consumer:
    """The one consumer that there is."""
    (consumer,) = await wait_until(lambda: subscribed(served.broker))
    found: Consumer = consumer
    return found


async def health(operator: doctrain.AsyncClient) -> dict[str, tuple[int, str]]:
    """What is said of each worker's, with the reason."""
    fleet = await operator.fleet.list_workers()
    return {one.worker_id: (one.health, one.health_reason) for one in fleet.workers}


async def test_a_tenant_that_comes_later_does_not_wait_for_lanes_that_nothing_reaches(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    good, deaf = Timed(), Timed()
    newcomer, database = await served.tenant("newcomer", "free"), await served.database()
    async with await named(served, "deaf", deaf, 6):
        subscribe = unsubscribe(await one_subscribed(served))
        async with await named(served, "good", good, 2):
            fit, lost = (fleet_pb2.WORKER_HEALTH_FIT, ""), (fleet_pb2.WORKER_HEALTH_UNSUBSCRIBED, "Its connection to RabbitMQ is lost.")

            async def are(**expected: tuple[int, str]) -> bool:
                return await health(operator) == expected

            await wait_until(lambda: are(deaf=lost, good=fit))
            await acme.start_training(numbered=numbered(5_000), training_task_id="flood")
            await wait_until(lambda: len(good.started) >= 10, 30)
            await newcomer.start_training(numbered=numbered(5), training_task_id="few")
            await wait_until(lambda: "newcomer" in good.started, 60)
            assert not await database.fetchval("select count(*) from shard where state = 4"), "no shard of the flood had to end before"
            assert (await newcomer.wait("few")).completed == 5
            assert deaf.started == []
            subscribe()
            await wait_until(lambda: are(deaf=fit, good=fit))
            await wait_until(lambda: deaf.started, 30)
            await acme.cancel("flood")


async def test_what_a_worker_holds_goes_on_while_it_is_cut_off_and_who_waits_is_told_why(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    documents = Documents()
    async with await named(served, "only", documents, 2):
        consumer = await one_subscribed(served)
        await acme.start_training(numbered=numbered(5), training_task_id="first")
        await wait_until(lambda: len(documents.running) == 5)
        subscribe = unsubscribe(consumer)

        async def told() -> bool:
            return (await health(operator))["only"][0] == fleet_pb2.WORKER_HEALTH_UNSUBSCRIBED

        await wait_until(told)
        await acme.start_training(numbered=numbered(3), training_task_id="second")
        held = (await acme.explain("second")).holds[0]
        assert held.rule == pb.HOLD_RULE_NO_FIT_WORKER
        assert "for want of a connection to the message broker" in held.message
        documents.end_all()
        assert (await acme.wait("first")).completed == 5
        subscribe()
        assert (await acme.wait("second")).completed == 3
    assert len(documents.started) == 8
