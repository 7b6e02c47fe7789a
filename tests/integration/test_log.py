"""What an operator reads in a coordinator's log: each training's beginning and end, what failed and how, who comes and goes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from doctrain.v1 import fleet_pb2, training_pb2_grpc
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import app, registration
from doctrain_coordinator.core.blocks import Failure
from doctrain_coordinator.trainings.reading import Trainings
from doctrain_mesh.registry import membership
from testkit.coordinator import Coordinators, coordinators
from testkit.core import core, results
from testkit.waiting import wait_until


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "INFO"]


async def test_a_training_is_told_with_its_end_and_what_failed_without_a_word_of_its_tenant(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "doctrain_coordinator")
    async with core(postgres) as one:
        training = await one.training(await one.tenant("a"), "t", 20)
        worker = await one.open("worker-1")
        assert f"Session {worker.session} of worker-1 is open: 6 lanes." in told(caplog)
        shard, number = await one.running_shard(worker.session, training)
        secret = [Failure(ordinal, 2, "ENCRYPTED", "payroll.pdf is encrypted.") for ordinal in (3, 1)]
        await one.report(worker.session, shard, number, results(0, 10, failed=[*secret, Failure(7, 4, "CRASHED", "It crashed.")]))
        await one.report(worker.session, shard, number, results(0, 10, failed=secret))  # said again, recorded once
        shard, number = await one.running_shard(worker.session, training, 1)
        await one.report(worker.session, shard, number, results(10, 10))
        await one.sessions.leave(worker.session)
    assert told(caplog)[1:] == [
        f"Documents 1, 3 of training {training} (t) failed: PERMANENT ENCRYPTED.",
        f"Document 7 of training {training} (t) failed: CRASH CRASHED.",
        f"Training {training} (t) ended as completed with failures; documents: 20, trained: 17, failed: 3.",
        f"Session {worker.session} of worker-1 was taken back (it said goodbye, not charged).",
    ]
    assert "payroll" not in caplog.text


async def test_many_failures_of_a_kind_are_one_line(postgres: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "doctrain_coordinator.trainings")
    async with core(postgres) as one:
        training = await one.training(await one.tenant("a"), "t", 15)
        worker = await one.open("worker-1")
        reports = []
        for place, (first, count) in enumerate(((0, 10), (10, 5))):
            shard, number = await one.running_shard(worker.session, training, place)
            failed = [Failure(ordinal, 1, "NOT_REACHED", "No answer.") for ordinal in range(first, first + count)]
            reports.append((worker.session, shard, number, results(first, count, failed=failed)))
        await one.reports(reports)
    failures, end = told(caplog)
    assert failures == f"Documents 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more of training {training} (t) failed: TRANSIENT NOT_REACHED."
    assert end == f"Training {training} (t) ended as failed; documents: 15, trained: 0, failed: 15."


async def test_accepted_and_cancelled_trainings_leading_and_draining_are_told(
    postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "doctrain_coordinator")
    async with coordinators(postgres, tmp_path) as served:
        acme = await served.tenant("acme")
        await acme.start_training([pb.DocumentInput(document_id="a", content=b"text")], training_task_id="mine")
        await acme.cancel("mine")
        await wait_until(lambda: "This coordinator leads." in told(caplog), 20)
    said = told(caplog)
    assert "Training 1 was accepted: mine of tenant acme; documents: 1." in said
    assert "Training 1 (mine) ended as cancelled; documents: 1, trained: 0, failed: 0." in said
    assert said.index("This coordinator drains: its workers and watchers are sent elsewhere.") < said.index(
        "This coordinator leads no longer."
    )


async def test_what_callers_change_is_told_with_who_did_it(postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with coordinators(postgres, tmp_path) as served:
        operator = (await served.client(await served.key(3))).fleet
        key = 2  # the operator's is 1
        caplog.set_level("INFO", "doctrain_coordinator.rpc")
        await operator.put_plan("team", slots=12)
        await operator.create_tenant("acme", plan="team")
        await operator.update_tenant("acme", plan="paid")
        made = await operator.create_key(fleet_pb2.ROLE_TENANT, tenant_id="acme")
        acme = await served.client(made.key)
        await acme.start_training([pb.DocumentInput(document_id="a", content=b"text")], training_task_id="mine")
        for change in (acme.pause, acme.resume, acme.cancel):
            await change("mine")
        await acme.delete_documents(["payroll"])
        await operator.revoke_key(made.key_id)
    by_operator, by_acme = "by role operator with key 1.", f"by tenant acme with key {key}."
    assert [record.getMessage() for record in caplog.records if record.name == "doctrain_coordinator.rpc.deeds"] == [
        f"Plan team was set to 12 slots and 1000 open trainings, {by_operator}",
        f"Tenant acme was made, of plan team and weight 1, {by_operator}",
        f"Tenant acme was changed to plan paid and weight 1, {by_operator}",
        f"Key {key} of role tenant was made for tenant acme, {by_operator}",
        f"Training 1 (mine) was started, {by_acme}",
        f"Training 1 (mine) was paused, {by_acme}",
        f"Training 1 (mine) was resumed, {by_acme}",
        f"Training 1 (mine) was cancelled, {by_acme}",
        f"Key {key} was revoked, {by_operator}",
    ]
    assert "payroll" not in caplog.text
    assert made.key not in caplog.text


async def test_a_second_coordinator_of_a_name_is_warned_of_and_takes_nothing_of_the_first_away(
    postgres: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "LAPSED_SECONDS", 0.1)
    async with coordinators(postgres, tmp_path, name="same") as served:
        settings = dataclasses.replace(served.settings, name="same")
        first = await served.registry.list(membership.COORDINATORS)
        async with app.running(settings, broker=served.broker, registry=served.registry):
            assert len(await served.registry.list(membership.COORDINATORS)) == 2
            await wait_until(lambda: "Another coordinator is named same, too" in caplog.text)
        assert await served.registry.list(membership.COORDINATORS) == first


@pytest.mark.parametrize("traced", ["", "0af7651916cd43dd8448eb211c80319c"])
async def test_a_fault_is_found_in_the_log_by_the_id_that_its_caller_reports(
    served: Coordinators, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, traced: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise LookupError("a test says so")

    await served.tenant("acme")
    metadata = [("authorization", f"Bearer {await served.key(1, 'acme')}")]
    if traced:
        metadata.append(("traceparent", f"00-{traced}-b7ad6b7169203331-01"))
    monkeypatch.setattr(Trainings, "get", fail)
    stub: Any = training_pb2_grpc.TrainingServiceStub(await served.channel())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetTraining(pb.GetTrainingRequest(training_task_id="t"), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    reported = re.search(r"Please report the trace id ([0-9a-f]{32})\.", caught.value.details() or "")
    assert reported is not None
    assert not traced or reported[1] == traced
    (fault,) = (record for record in caplog.records if record.exc_info and record.exc_info[0] is LookupError)
    assert reported[1] in fault.getMessage()


async def test_what_a_caller_says_of_its_trace_fills_no_log(served: Coordinators, caplog: pytest.LogCaptureFixture) -> None:
    await served.tenant("acme")
    key, valid = ("authorization", f"Bearer {await served.key(1, 'acme')}"), f"00-{'a' * 32}-{'b' * 16}-01"
    stub: Any = training_pb2_grpc.TrainingServiceStub(await served.channel())
    for told in ((("traceparent", "0" * 513),), (("traceparent", valid), ("tracestate", "=,=")), (("baggage", "=,=,"),)):
        await stub.GetLimits(pb.GetLimitsRequest(), metadata=(key, *told))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []
