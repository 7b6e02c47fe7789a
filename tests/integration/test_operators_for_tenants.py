"""What operators see of tenants' trainings and may do for them; and that nobody else may name a tenant."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import pytest

import doctrain
from doctrain.v1 import fleet_pb2, fleet_pb2_grpc, training_pb2, training_pb2_grpc
from testkit.coordinator import Coordinators, refused
from testkit.shell import Shell, lines


def numbered(count: int) -> training_pb2.NumberedDocuments:
    return training_pb2.NumberedDocuments(uri_template="s3://bucket/{n}", count=count)


def metadata(key: str, tenant: str = "") -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"), *((("doctrain-tenant", tenant),) if tenant else ()))


@pytest.fixture
async def stub(served: Coordinators) -> training_pb2_grpc.TrainingServiceAsyncStub:
    made: Any = training_pb2_grpc.TrainingServiceStub(await served.channel())
    return made  # type: ignore[no-any-return]


@pytest.fixture
async def two_tenants(served: Coordinators) -> None:
    for name in ("acme", "zebra"):
        await (await served.tenant(name)).start_training(numbered=numbered(3), training_task_id=f"of-{name}")


@pytest.mark.usefixtures("two_tenants")
async def test_operators_list_the_trainings_of_all_tenants(served: Coordinators) -> None:
    operator = await served.client(await served.key(3))
    acme = await served.client(await served.key(1, "acme"))
    await acme.start_training(numbered=numbered(1), training_task_id="ended")
    await acme.cancel("ended")
    found = [(one.tenant_id, one.training.training_task_id) async for one in operator.fleet.list_all_trainings(page_size=1)]
    assert found == [("acme", "ended"), ("zebra", "of-zebra"), ("acme", "of-acme")]

    async def ids(*states: str) -> list[str]:
        return [one.training.training_task_id async for one in operator.fleet.list_all_trainings(states, page_size=1)]

    assert await ids("queued", "processing") == ["of-zebra", "of-acme"]
    assert await ids("processing") == []
    assert await ids("cancelled") == ["ended"]
    assert await ids("cancelled", "queued") == ["ended", "of-zebra", "of-acme"]
    unknown = await refused(anext(operator.fleet.list_all_trainings([99])))  # type: ignore[list-item]
    assert [violation.field for violation in unknown.violations] == ["states[0]"]
    assert (await refused(anext(acme.fleet.list_all_trainings()))).reason == "PERMISSION_DENIED"
    assert (await refused(anext(operator.fleet.list_all_trainings(page_size=-1)))).reason == "INVALID_REQUEST"


@pytest.mark.usefixtures("two_tenants")
async def test_an_operator_sees_and_steers_a_training_for_the_tenant_that_it_names(
    served: Coordinators, stub: training_pb2_grpc.TrainingServiceAsyncStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = metadata(await served.key(3), "acme")
    listed = await stub.ListTrainings(training_pb2.ListTrainingsRequest(), metadata=asked)
    assert [training.training_task_id for training in listed.trainings] == ["of-acme"]
    documents = await stub.ListDocuments(training_pb2.ListDocumentsRequest(training_task_id="of-acme"), metadata=asked)
    assert len(documents.documents) == 3
    explained = await stub.ExplainTraining(training_pb2.ExplainTrainingRequest(training_task_id="of-acme"), metadata=asked)
    assert explained.plan_slots == 30
    paused = await stub.PauseTraining(training_pb2.PauseTrainingRequest(training_task_id="of-acme"), metadata=asked)
    assert paused.training.paused
    await stub.CancelTraining(training_pb2.CancelTrainingRequest(training_task_id="of-acme"), metadata=asked)
    watched = [message async for message in stub.WatchStatus(training_pb2.WatchStatusRequest(training_task_id="of-acme"), metadata=asked)]
    assert watched[-1].training.state == training_pb2.TRAINING_STATE_CANCELLED
    retry = training_pb2.RetryFailedDocumentsRequest(training_task_id="of-acme", new_training_task_id="again")
    for _ in range(2):
        assert (await stub.RetryFailedDocuments(retry, metadata=asked)).training.retry_of == "of-acme"
    with pytest.raises(grpc.aio.AioRpcError):  # nothing of it was tried yet
        await stub.RetryFailedDocuments(training_pb2.RetryFailedDocumentsRequest(training_task_id="again"), metadata=asked)
    deeds = [record.getMessage() for record in caplog.records if record.name == "doctrain_coordinator.rpc.deeds"]
    assert any("(of-acme) was paused, by role operator for tenant acme with key" in deed for deed in deeds)
    entries = [entry async for entry in (await served.client(await served.key(3))).fleet.list_audit_log(tenant_id="acme")]
    retried = [(entry.role, entry.subject, entry.sentence) for entry in entries if entry.call == "RetryFailedDocuments"]
    sentence = "Training 3 (again) was started, to train again what was not trained"
    refused = "There is nothing to retry: no document failed or was cancelled in 'again'."
    told = [(fleet_pb2.ROLE_OPERATOR, "training again", said) for said in (refused, sentence)]
    assert retried == told, "each once, by whom, and of which training"
    with pytest.raises(grpc.aio.AioRpcError) as other:
        await stub.GetTraining(training_pb2.GetTrainingRequest(training_task_id="of-zebra"), metadata=asked)
    assert other.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.usefixtures("two_tenants")
async def test_nobody_else_names_a_tenant_and_operators_give_no_documents_in_its_name(
    served: Coordinators, stub: training_pb2_grpc.TrainingServiceAsyncStub
) -> None:
    start = training_pb2.StartTrainingRequest(numbered=numbered(1))
    get = training_pb2.GetTrainingRequest(training_task_id="of-acme")
    operator, zebra, worker = await served.key(3), await served.key(1, "zebra"), await served.key(2)
    calls: tuple[tuple[Any, Any, str, str, grpc.StatusCode], ...] = (
        (stub.StartTraining, start, operator, "acme", grpc.StatusCode.PERMISSION_DENIED),
        (stub.GetTraining, get, operator, "", grpc.StatusCode.PERMISSION_DENIED),
        (stub.GetTraining, get, operator, "nobody", grpc.StatusCode.NOT_FOUND),
        (stub.GetTraining, get, zebra, "acme", grpc.StatusCode.PERMISSION_DENIED),
        (stub.GetTraining, get, worker, "acme", grpc.StatusCode.PERMISSION_DENIED),
        (stub.GetTraining, get, zebra, "zebra", grpc.StatusCode.NOT_FOUND),
    )
    for call, request, key, tenant, expected in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call(request, metadata=metadata(key, tenant))
        assert refusal.value.code() is expected, (key, tenant)
    entries = [entry async for entry in (await served.client(operator)).fleet.list_audit_log()]
    refusals = [(entry.tenant_id, entry.call, entry.outcome) for entry in entries if entry.outcome != "OK"]
    assert refusals == [("acme", "StartTraining", "PERMISSION_DENIED")], "of operators' calls that change something"


async def test_an_operator_needs_no_tenant_for_the_fleet(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    channel = await served.channel()
    call = channel.unary_unary(
        "/doctrain.v1.FleetService/ListWorkers",
        request_serializer=fleet_pb2.ListWorkersRequest.SerializeToString,
        response_deserializer=fleet_pb2.ListWorkersResponse.FromString,
    )
    await call(fleet_pb2.ListWorkersRequest(), metadata=metadata(await served.key(3), "acme"))
    with pytest.raises(grpc.aio.AioRpcError):
        await call(fleet_pb2.ListWorkersRequest(), metadata=metadata(await served.key(1, "acme"), "acme"))


@pytest.mark.usefixtures("two_tenants")
async def test_the_command_line_takes_a_tenants_name_from_operators(served: Coordinators) -> None:
    shell = Shell(served.running[0].address)
    shell.environment["DOCTRAIN_API_KEY"] = await served.key(3)
    listed = await shell("list", "--all-tenants")
    assert [line.split()[:3] for line in listed.stdout.splitlines()] == [
        ["TENANT", "ID", "STATE"],
        ["zebra", "of-zebra", "queued"],
        ["acme", "of-acme", "queued"],
    ]
    assert [one["tenant_id"] for one in lines(await shell("list", "--all-tenants", "--state", "queued", "--json"))] == ["zebra", "acme"]
    assert [one["training_task_id"] for one in lines(await shell("list", "--tenant", "acme", "--json"))] == ["of-acme"]
    for command in ("status", "documents", "explain", "pause", "resume", "cancel"):
        assert (await shell(command, "of-acme", "--tenant", "acme")).exit_code == 0
    assert (await shell("status", "of-acme", "--tenant", "zebra")).exit_code == 4
    assert (await shell("limits", "--tenant", "acme")).stdout.startswith("Plan paid.")
    assert (await shell("usage", "--tenant", "acme")).exit_code == 0
    watched = await shell("watch", "of-acme", "--tenant", "acme")
    assert (watched.exit_code, watched.stdout.startswith("Cancelled: 0 documents trained, 0 failed")) == (1, True)
    retried = await shell("retry", "of-acme", "--tenant", "acme", "--id", "again")
    assert retried.stdout.endswith("Follow it with: doctrain watch again --tenant acme\n")
    assert (await shell("list", "--tenant", "acme", "--all-tenants")).exit_code == 2
    shell.environment["DOCTRAIN_API_KEY"] = await served.key(1, "zebra")
    assert (await shell("status", "of-acme", "--tenant", "acme")).exit_code == 5


@pytest.mark.usefixtures("two_tenants")
async def test_operators_are_told_of_the_option_where_there_is_one(served: Coordinators, tmp_path: Path) -> None:
    shell = Shell(served.running[0].address)
    shell.environment["DOCTRAIN_API_KEY"] = await served.key(3)
    for words in (("status", "of-acme"), ("watch", "of-acme"), ("retry", "of-acme"), ("limits",), ("usage",), ("list",)):
        denied = await shell(*words)
        assert (denied.exit_code, "--tenant on the command line" in denied.stderr) == (5, True), words
        assert "--tenant NAME" in (await shell(words[0], "--help")).stdout
    (tmp_path / "a.txt").write_text("a")
    for words in (("train", str(tmp_path)), ("upload", str(tmp_path / "a.txt")), ("uploads",), ("search", "a"), ("index",)):
        denied = await shell(*words)
        assert denied.stderr.endswith("A key of role operator may not call this; it needs one of role tenant.\n"), words


async def test_what_an_operator_sets_is_filed_under_no_tenant_that_it_names(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    stub: Any = fleet_pb2_grpc.FleetServiceStub(await served.channel())
    asked = metadata(await served.key(3), "acme")
    plan = fleet_pb2.Plan(name="gold", slots=5)
    await stub.PutPlan(fleet_pb2.PutPlanRequest(plan=plan), metadata=asked)
    made = await stub.CreateKey(fleet_pb2.CreateKeyRequest(role=fleet_pb2.ROLE_WORKER), metadata=asked)
    await stub.RevokeKey(fleet_pb2.RevokeKeyRequest(key_id=made.key_id), metadata=asked)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.DeletePlan(fleet_pb2.DeletePlanRequest(name="paid"), metadata=asked)
    entries = (await stub.ListAuditLog(fleet_pb2.ListAuditLogRequest(), metadata=asked)).entries
    assert [(entry.call, entry.tenant_id) for entry in entries[::-1]] == [
        ("PutPlan", ""),
        ("CreateKey", ""),
        ("RevokeKey", ""),
        ("DeletePlan", ""),
    ]
