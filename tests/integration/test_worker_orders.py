"""Workers that operators take out of work: cordoned, drained, and back again, on coordinators with a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import doctrain
from doctrain.v1 import fleet_pb2, fleet_pb2_grpc
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import metrics
from doctrain_coordinator.dispatch import fleet_measures
from doctrain_server.doctor.database import Mesh, examine_database
from doctrain_server.doctor.finding import Verdict
from doctrain_worker import app
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.gauges import told
from testkit.shell import Shell
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(90)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, beat_seconds=0.1, lease_seconds=5.0, metrics_listen="127.0.0.1:0") as running:
        yield running


@pytest.fixture
async def operator(served: Coordinators) -> doctrain.AsyncClient:
    return await served.client(await served.key(3))


async def named(served: Coordinators, name: str, documents: Documents, **settings: Any) -> AbstractAsyncContextManager[app.Running]:
    """A worker of that name."""
    key = await served.key(2)
    return worker(served.broker, documents, served.running[0].address, name=name, worker_key=key, registry=served.registry, **settings)


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=count)


async def shown(operator: doctrain.AsyncClient, name: str) -> fleet_pb2.Worker:
    """The one worker of that name."""
    (found,) = [one for one in (await operator.fleet.list_workers()).workers if one.worker_id == name]
    return found


async def test_a_cordoned_worker_ends_what_it_has_and_takes_no_more_over_its_boots(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    documents, later = Documents(), Documents(free=True)
    async with await named(served, "a", documents):
        await acme.start_training(numbered=numbered(8), training_task_id="first")
        await wait_until(lambda: len(documents.running) == 5)
        for _ in range(2):
            await operator.fleet.cordon_worker("a", reason="its disk is replaced")
        await acme.start_training(numbered=numbered(3), training_task_id="second")
        held = (await acme.explain("second")).holds[0]
        assert held.rule == pb.HOLD_RULE_NO_FIT_WORKER
        assert "is kept from new work" in held.message
        documents.end_all()
        assert (await acme.wait("first")).completed == 8
        one = await shown(operator, "a")
        assert (one.health, one.lanes_in_use) == (fleet_pb2.WORKER_HEALTH_CORDONED, 0)
        assert one.health_reason.endswith(": its disk is replaced")
    absent = await shown(operator, "a")
    assert (absent.session_id, absent.health) == (0, fleet_pb2.WORKER_HEALTH_CORDONED)
    async with await named(served, "a", later) as second_boot:
        await wait_until(second_boot.session.opened.is_set)
        assert (await acme.explain("second")).holds[0].rule == pb.HOLD_RULE_NO_FIT_WORKER
        for _ in range(2):
            await operator.fleet.uncordon_worker("a")
        assert (await acme.wait("second")).completed == 3
        assert (await shown(operator, "a")).health == fleet_pb2.WORKER_HEALTH_FIT
    assert len(documents.started) == 8


async def test_that_no_worker_takes_new_work_is_told_by_the_queue_and_the_doctor(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    shell = Shell(served.running[0].address)
    shell.environment["DOCTRAIN_API_KEY"] = await served.key(3)

    async def found() -> list[tuple[Verdict, str]]:
        findings = await examine_database(served.settings, Mesh(1, 1, 1))
        return [(finding.verdict, finding.sentence) for finding in findings if finding.subject == "workers"]

    assert await found() == [], "none is connected, as before the first one starts"
    assert (await shell("queue")).stderr == "", "nothing waits"
    await acme.start_training(numbered=numbered(3), training_task_id="t")
    alone = await shell("queue")
    assert alone.stderr == "No worker is connected. What waits starts when one takes new work: see doctrain workers.\n"
    async with await named(served, "a", Documents()) as a, await named(served, "b", Documents()) as b:
        await wait_until(lambda: a.session.opened.is_set() and b.session.opened.is_set())
        await operator.fleet.cordon_worker("a")
        await operator.fleet.drain_worker("b", within_seconds=60)
        await acme.start_training(numbered=numbered(3), training_task_id="later")
        alarm = "2 workers are connected and take no new work: 1 cordoned, 1 drained."
        assert (await shell("queue")).stderr.startswith(alarm)
        [(verdict, sentence)] = await found()
        assert (verdict, sentence.startswith(alarm)) == (Verdict.BAD, True)
        await operator.fleet.uncordon_worker("b")
        assert await found() == []
        assert (await operator.fleet.get_queue()).intake_alarm == ""


async def test_a_drained_worker_repeats_nothing_when_what_runs_ends_in_time(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    leaving, staying = Documents(), Documents(free=True)
    async with await named(served, "leaving", leaving, lanes=1):
        await acme.start_training(numbered=numbered(60), training_task_id="t")
        await wait_until(lambda: len(leaving.running) == 5)
        leaving.end(0, 1, 2)
        await wait_until(lambda: len(leaving.running) == 5 and len(leaving.started) == 8)
        in_flight = set(leaving.running)
        await operator.fleet.drain_worker("leaving", within_seconds=60)
        async with await named(served, "staying", staying):
            await wait_until(lambda: len(staying.started) >= 20)
            leaving.end(*in_flight)
            assert (await acme.wait("t")).completed == 60
            one = await shown(operator, "leaving")
            assert (one.health, one.lanes_in_use, one.slots_in_use) == (fleet_pb2.WORKER_HEALTH_DRAINING, 0, 0)
    assert sorted(leaving.started + staying.started) == list(range(60)), "every document was started once"
    assert leaving.started == list(range(8))
    assert leaving.cancelled == []


async def test_a_drain_stops_what_still_runs_when_its_time_is_over(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    leaving, staying = Documents(), Documents(free=True)
    async with await named(served, "leaving", leaving, lanes=1), await named(served, "staying", staying):
        await operator.fleet.cordon_worker("staying")
        await acme.start_training(numbered=numbered(20), training_task_id="t")
        await wait_until(lambda: len(leaving.running) == 5)
        leaving.end(0, 1)
        await wait_until(lambda: len(leaving.started) == 7 and len(leaving.running) == 5)
        in_flight = set(leaving.running)
        await operator.fleet.uncordon_worker("staying")
        await operator.fleet.drain_worker("leaving", within_seconds=0)
        training = await acme.wait("t")
    assert training.completed == 20
    assert set(leaving.cancelled) == in_flight
    assert set(leaving.started) & set(staying.started) == in_flight, "only what was in flight is repeated"
    listed = [document async for document in acme.list_documents("t")]
    assert {document.losses for document in listed} == {0}


async def test_a_busy_worker_that_is_cordoned_leaves_room_for_the_others(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    busy, idle = Documents(), Documents(free=True)
    async with await named(served, "busy", busy, lanes=4):
        await acme.start_training(numbered=numbered(2000), training_task_id="large")
        await wait_until(lambda: len(busy.running) == 20)
        await operator.fleet.cordon_worker("busy")
        other = await served.tenant("other")
        async with await named(served, "idle", idle, lanes=1):
            await other.start_training(numbered=numbered(30), training_task_id="small")
            assert (await other.wait("small")).completed == 30
        busy.end_all()


async def test_measures_count_what_takes_new_work_apart_from_what_does_not(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_measures, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(fleet_measures, "LOOK_SECONDS", 0.1)
    busy = Documents()
    async with await named(served, "busy", busy, lanes=4):
        await acme.start_training(numbered=numbered(2000), training_task_id="large")
        await wait_until(lambda: len(busy.running) == 20)
        await operator.fleet.cordon_worker("busy")
        await acme.pause("large")  # so that nothing of it comes to the other one
        async with await named(served, "idle", Documents(), lanes=6):
            await wait_until(lambda: told(metrics.SESSIONS).get(("cordoned",)) == told(metrics.SESSIONS).get(("live",)) == 1, 40)
            await wait_until(lambda: told(metrics.LANES) == {("used",): 0, ("free",): 6}, 40)
        busy.end_all()


async def test_only_known_workers_are_ordered_and_an_absent_one_may_be(served: Coordinators, operator: doctrain.AsyncClient) -> None:
    for call in (operator.fleet.cordon_worker("nobody"), operator.fleet.drain_worker("nobody"), operator.fleet.uncordon_worker("nobody")):
        said = await refused(call)
        assert said.reason == "WORKER_NOT_FOUND"
        assert said.sentence.startswith("No worker named 'nobody' is connected, or was within the last day;")
    async with await named(served, "known", Documents()):
        pass
    await operator.fleet.drain_worker("known", reason="it burnt")
    assert (await shown(operator, "known")).health == fleet_pb2.WORKER_HEALTH_DRAINING
    await operator.fleet.cordon_worker("known")
    cordoned = await shown(operator, "known")
    assert cordoned.health == fleet_pb2.WORKER_HEALTH_CORDONED
    assert "it burnt" in cordoned.health_reason, "the reason stands until another is given"
    await operator.fleet.uncordon_worker("known")
    assert list((await operator.fleet.list_workers()).workers) == []
    for wrong in ("", "a\x00b", "x" * 201):
        assert (await refused(operator.fleet.cordon_worker(wrong))).reason == "INVALID_REQUEST"
    assert (await refused(operator.fleet.cordon_worker("known", reason="\n"))).reason == "INVALID_REQUEST"
    for seconds in (-1, 86_401):
        assert (await refused(operator.fleet.drain_worker("known", within_seconds=seconds))).reason == "INVALID_REQUEST"
    stub: Any = fleet_pb2_grpc.FleetServiceStub(await served.channel())
    for seconds in (-(2**63), 2**63 - 1):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DrainWorker(
                fleet_pb2.DrainWorkerRequest(worker_id="known", within=Duration(seconds=seconds)),
                metadata=(("authorization", f"Bearer {await served.key(3)}"),),
            )
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_sessions_of_one_name_are_under_the_same_order(
    served: Coordinators, acme: doctrain.AsyncClient, operator: doctrain.AsyncClient
) -> None:
    one, two = Documents(), Documents()
    async with await named(served, "twin", one, lanes=1), await named(served, "twin", two, lanes=1):
        await acme.start_training(numbered=numbered(20), training_task_id="t")
        await wait_until(lambda: len(one.running) == len(two.running) == 5)
        await operator.fleet.drain_worker("twin", within_seconds=0)
        await wait_until(lambda: not (one.running or two.running))
        await operator.fleet.uncordon_worker("twin")
        one.end_all()
        two.end_all()
        assert (await acme.wait("t")).completed == 20
