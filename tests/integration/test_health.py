"""Workers that are not well: what they say in the registry, what the leader makes of it, and what operators and tenants see."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import doctrain
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.health import Fitness, HealthPolicy, Sight
from doctrain_coordinator.tracking import health
from doctrain_mesh import settings
from doctrain_mesh.ports import Registration
from doctrain_mesh.registry import membership
from doctrain_worker import app
from doctrain_worker.pipeline.processor import DONE, DocumentTask, ErrorClass, Failure, Outcome, ShardContext
from doctrain_worker.tracking import registration
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(90)]
STUCK_SECONDS = 1.0


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(registration, "PAUSE_SECONDS", 0.1)
    chosen: dict[str, Any] = {"health_ill_seconds": 0.2, "health_well_seconds": 0.2, "health_loop_lag_seconds": 1.0}
    async with coordinators(postgres, tmp_path, beat_seconds=0.1, lease_seconds=10.0, **chosen) as running:
        yield running


@pytest.fixture
async def operator(served: Coordinators) -> doctrain.AsyncClient:
    return await served.client(await served.key(3))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the leader judged its fleet."""
    found: list[float] = []
    judge = HealthPolicy.judge

    def judged(policy: HealthPolicy, now: float, fleet: Sequence[Sight]) -> dict[int, Fitness]:
        found.append(now)
        return judge(policy, now, fleet)

    monkeypatch.setattr(HealthPolicy, "judge", judged)
    return found


async def named(served: Coordinators, name: str, processor: Any) -> AbstractAsyncContextManager[app.Running]:
    """A worker of that name."""
    key = await served.key(2)
    return worker(served.broker, processor, served.running[0].address, name=name, worker_key=key, registry=served.registry)


async def said(served: Coordinators, one: app.Running, **load: float) -> Registration:
    """From now on the worker's record is the test's."""
    record = json.dumps({"session": one.session.id, **load}).encode()
    return await served.registry.register(membership.WORKERS + one.worker_id, record, 60)


async def shown(operator: doctrain.AsyncClient, name: str) -> fleet_pb2.Worker:
    (found,) = [one for one in (await operator.fleet.list_workers()).workers if one.worker_id == name]
    return found


async def test_a_worker_that_says_that_it_is_overloaded_takes_no_new_work_until_it_is_well(
    served: Coordinators,
    acme: doctrain.AsyncClient,
    operator: doctrain.AsyncClient,
    looks: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ill, well = Documents(free=True), Documents(free=True)
    async with await named(served, "ill", ill) as one, await named(served, "well", well):
        record = await said(served, one, loop_lag_seconds=4.5)

        async def unfit() -> bool:
            return (await shown(operator, "ill")).health == fleet_pb2.WORKER_HEALTH_UNFIT

        async def fit() -> bool:
            return (await shown(operator, "ill")).health == fleet_pb2.WORKER_HEALTH_FIT

        await wait_until(unfit)
        await wait_until(lambda: "ill takes no new shards" in caplog.text)  # its next heartbeat tells it
        found = await shown(operator, "ill")
        assert found.health_reason == "Its main process was 4.5 s late; more than 1 s is too much."
        assert found.loop_lag_seconds == 4.5
        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=100), training_task_id="t")
        assert (await acme.wait("t")).completed == 100
        assert ill.started == []
        await record.close()
        looked = len(looks)
        await wait_until(lambda: len(looks) >= looked + 10)
        assert await unfit(), "what says nothing stays as it is"
        await said(served, one, loop_lag_seconds=0.0)
        await wait_until(fit)
        assert (await shown(operator, "ill")).health_reason == ""


async def test_the_last_worker_works_on_however_ill_it_is_and_an_alarm_tells_of_it(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    alarm = "1 worker is not well and works all the same, because too few would be left: only: 100% of its memory is in use"
    async with await named(served, "only", Documents(free=True)) as one:
        await said(served, one, memory_share=1.0)

        async def alarmed() -> bool:
            return (await operator.fleet.list_workers()).health_alarm.startswith(alarm)

        await wait_until(alarmed)
        assert (await operator.fleet.get_queue()).health_alarm.startswith(alarm)
        assert (await shown(operator, "only")).health == fleet_pb2.WORKER_HEALTH_SPARED
        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=20), training_task_id="t")
        assert (await acme.wait("t")).completed == 20
        assert caplog.text.count(alarm) == 1


class Blocking:
    """A processor whose documents block the worker's event loop, as none should."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        time.sleep(1.5)  # noqa: ASYNC251 - that is the point
        return DONE


class Crashing:
    """A processor of which every document reaches a limit."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        await asyncio.sleep(0)
        return Failure(ErrorClass.RESOURCE, "TOO_LARGE", "It is too large.", final=True)


async def test_a_worker_says_how_late_its_loop_is(served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient) -> None:
    lags: list[float] = []
    async with await named(served, "blocked", Blocking()):

        async def late() -> bool:
            lags.append((await shown(operator, "blocked")).loop_lag_seconds)
            return lags[-1] > 1.0

        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=4), training_task_id="t")
        await wait_until(late, 30)


async def test_a_worker_says_how_many_of_its_tries_break_and_what_it_has_room_for(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    async with await named(served, "breaking", Crashing()) as one:
        first = await shown(operator, "breaking")
        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=40), training_task_id="t")
        assert (await acme.wait("t")).failed == 40

        async def spared() -> bool:
            return (await shown(operator, "breaking")).health == fleet_pb2.WORKER_HEALTH_SPARED

        await wait_until(spared)
        found = await shown(operator, "breaking")
        assert found.health_reason.startswith("100% of its tries of a minute crashed or reached a limit")
        assert found.documents_per_second > 0
        assert 0 < found.memory_share < 1
        assert 0 < found.disk_free_share < 1
        assert found.boot_id == first.boot_id != ""
        assert one.session.id == found.session_id
    async with await named(served, "breaking", Crashing()):
        assert (await shown(operator, "breaking")).boot_id != first.boot_id


async def test_a_worker_on_which_nothing_ends_takes_no_new_work_until_something_does(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(registration, "PAUSE_SECONDS", 0.1)
    impatient = STUCK_SECONDS / settings.ALONE_SECONDS
    async with coordinators(postgres, tmp_path, health_stuck_factor=impatient, health_well_seconds=0.2) as served:
        acme, operator = await served.tenant("acme"), await served.client(await served.key(3))
        hanging = Documents()

        async def stands(wanted: fleet_pb2.WorkerHealth.ValueType) -> bool:
            return (await shown(operator, "hanging")).health == wanted

        async with await named(served, "hanging", hanging), await named(served, "idle", Documents()):
            assert await stands(fleet_pb2.WORKER_HEALTH_FIT)
            await operator.fleet.cordon_worker("idle")
            await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=10), training_task_id="t")
            await wait_until(lambda: hanging.running)
            await operator.fleet.uncordon_worker("idle")
            await wait_until(lambda: stands(fleet_pb2.WORKER_HEALTH_UNFIT))
            assert (await shown(operator, "hanging")).health_reason.startswith("It runs documents, and none has ended for ")
            assert (await shown(operator, "idle")).health == fleet_pb2.WORKER_HEALTH_FIT, "of a worker that runs nothing nothing need end"
            hanging.end_all()
            await wait_until(lambda: stands(fleet_pb2.WORKER_HEALTH_FIT))
            assert (await acme.wait("t")).completed == 10
