"""What tenants and operators are shown of workers that are silent, and of a broker that is away, while nothing moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.ledger import Begun
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.registry import membership
from testkit.coordinator import Coordinators, coordinators
from testkit.core import Core, core
from testkit.waiting import wait_until

LEASE_SECONDS = 300.0


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, beat_seconds=0.2, lease_seconds=LEASE_SECONDS) as running:
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> doctrain.AsyncClient:
    return await served.tenant("acme", "free")


@pytest.fixture
async def workers(served: Coordinators) -> AsyncIterator[Core]:
    """What says of itself that it is a worker, and is silent otherwise."""
    async with core(served.settings.database_url) as made:
        yield made


async def handed_out(workers: Core) -> tuple[int, int]:
    """The shard that the leader has granted, with its number."""

    async def granted() -> list[object]:
        return list(await workers.pool.fetch("select id, number from shard where state = 1"))

    (row,) = await wait_until(granted, 30)
    return row["id"], row["number"]


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)


async def test_slots_that_a_silent_worker_holds_are_told_with_their_end(
    served: Coordinators, acme: doctrain.AsyncClient, workers: Core
) -> None:
    silent = await workers.open("worker-1")
    await acme.start_training(numbered=numbered(50), training_task_id="first")
    grant = await handed_out(workers)
    assert await workers.begin(silent.session, *grant) is Begun.BEGUN
    await acme.start_training(numbered=numbered(5), training_task_id="second")

    async def told(training: str) -> pb.ExplainTrainingResponse | None:
        explained = await acme.explain(training)
        return explained if any(hold.rule == pb.HOLD_RULE_WORKER_LOST for hold in explained.holds) else None

    own = await wait_until(lambda: told("first"), 30)
    assert own is not None
    assert [hold.rule for hold in own.holds] == [pb.HOLD_RULE_WORKER_LOST], "the plan is not what holds it"
    assert own.holds[0].message.startswith("A worker that was counted for 5 documents at once of this training is not heard of any more;")
    until = own.holds[0].until.ToDatetime(tzinfo=UTC)
    assert datetime.now(UTC) < until < datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
    other = await told("second")
    assert other is not None
    assert "of the tenant's trainings is not heard of any more" in other.holds[0].message

    await workers.beat(silent, grant)
    assert await told("first") is None, "a sign of life"


async def test_a_boot_that_died_is_shown_as_silent_beside_its_successor(served: Coordinators, workers: Core) -> None:
    operator = await served.client(await served.key(3))
    dead = await workers.open("worker-1")
    record = json.dumps({"worker_id": "worker-1", "cpu": 0.5, "memory_bytes": 2**20}).encode()
    await served.registry.register(membership.WORKERS + "worker-1", record, ttl_seconds=60)

    async def shown() -> list[tuple[int, bool, bool]]:
        fleet = await operator.fleet.list_workers()
        return [(worker.session_id, worker.registered, worker.HasField("silence")) for worker in fleet.workers]

    async def silent() -> bool:
        return await shown() == [(dead.session, True, True)]

    await wait_until(silent, 30)
    present = await workers.open("worker-1")
    await workers.beat(present)
    assert await shown() == [(dead.session, False, True), (present.session, True, False)]


async def test_a_shard_that_has_no_document_left_to_start_is_in_no_lane(
    served: Coordinators, acme: doctrain.AsyncClient, workers: Core
) -> None:
    operator = await served.client(await served.key(3))
    attachment = await workers.open("worker-1", lanes=1)
    await acme.start_training(numbered=numbered(5), training_task_id="t")
    shard, number = await handed_out(workers)
    assert await workers.begin(attachment.session, shard, number) is Begun.BEGUN

    async def in_use() -> tuple[int, int]:
        (worker,) = (await operator.fleet.list_workers()).workers
        return worker.lanes_in_use, worker.slots_in_use

    assert await in_use() == (1, 5)
    await workers.pool.execute("update shard set running = '{0, 1, 2, 3, 4}' where id = $1", shard)
    assert await in_use() == (0, 5)


async def test_a_broker_that_is_away_is_named_by_status_too(
    served: Coordinators, acme: doctrain.AsyncClient, workers: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> int:
        raise BrokerUnavailableError("It is away.")

    await workers.open("worker-1")
    await acme.start_training(numbered=numbered(5), training_task_id="t")
    await handed_out(workers)
    assert (await acme.get_training("t")).waiting_reason == "It was handed out, and no worker has taken it up yet."
    monkeypatch.setattr(served.broker, "depth", away)
    said = (await acme.get_training("t")).waiting_reason
    assert said == "It was handed out, but the message broker does not answer; it goes on when the broker is back."
    explained = await acme.explain("t")
    assert (explained.training.waiting_reason, explained.holds[0].message) == (said, said)
