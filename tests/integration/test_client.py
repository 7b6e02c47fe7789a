"""The client against real gRPC servers whose answers the test decides."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from doctrain import AsyncClient, Client, DocumentInput, NumberedDocuments, Timeouts, TrainingState, errors
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import UNAVAILABLE, Failure, ScriptedService, serving


def documents(count: int) -> list[DocumentInput]:
    return [DocumentInput(document_id=f"d{n}", content=b"x") for n in range(count)]


async def test_a_training_always_has_an_id_and_the_key_goes_with_each_call(client: AsyncClient, service: ScriptedService) -> None:
    first = await client.start_training(documents(2))
    second = await client.start_training(numbered=NumberedDocuments(uri_template="s3://b/{n}", count=7))
    named = await client.start_training(documents(1), training_task_id="mine")
    ids = [answer.training.training_task_id for answer in (first, second, named)]
    assert len(set(ids)) == 3
    assert all(ids)
    assert ids[2] == "mine"
    assert second.summary.documents == 7
    assert service.keys == {"Bearer secret"}
    assert (await client.get_training("mine")).total == 1
    assert (await client.cancel("mine")).state == TrainingState.TRAINING_STATE_CANCELLED


async def test_a_dry_run_starts_nothing(client: AsyncClient, service: ScriptedService) -> None:
    answer = await client.start_training(documents(3), validate_only=True)
    assert answer.summary.documents == 3
    assert not answer.HasField("training")
    assert not service.trainings


async def test_a_passing_outage_is_absorbed_and_starts_one_training(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["StartTraining"] = [UNAVAILABLE, UNAVAILABLE]
    answer = await client.start_training(documents(1))
    asked = service.asked(pb.StartTrainingRequest)
    assert len(asked) == 3
    assert {request.training_task_id for request in asked} == {answer.training.training_task_id}


async def test_only_unavailable_is_retried(client: AsyncClient, service: ScriptedService) -> None:
    violations = {"documents[0].uri": "The scheme ftp is not supported."}
    service.failures["StartTraining"] = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "A field is wrong.", "INVALID_REQUEST", {}, violations)]
    with pytest.raises(errors.InvalidRequestError) as caught:
        await client.start_training(documents(1))
    assert caught.value.violations[0].field == "documents[0].uri"
    assert len(service.asked(pb.StartTrainingRequest)) == 1
    with pytest.raises(errors.TrainingNotFoundError, match="There is no training nowhere"):
        await client.get_training("nowhere")


async def test_a_key_is_never_made_twice_by_a_retry(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["CreateKey"] = [UNAVAILABLE]
    with pytest.raises(errors.UnavailableError):
        await client.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="acme")
    assert len(service.asked(fleet_pb2.CreateKeyRequest)) == 1


async def test_a_call_that_gets_no_answer_says_so_in_its_time(service: ScriptedService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, as a frozen process does, and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with AsyncClient(address, api_key="secret", timeouts=Timeouts(call_seconds=0.3)) as client:
            with pytest.raises(errors.CallTimeoutError, match=r"did not read the training within 0\.3 s"):
                await client.get_training("t")


async def test_another_address_answers_for_one_that_is_away_or_frozen(service: ScriptedService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen, socket.create_server(("127.0.0.1", 0)) as closed:
        away = closed.getsockname()[1]
        closed.close()
        async with serving(service) as alive:
            addresses = [f"127.0.0.1:{away}", f"127.0.0.1:{frozen.getsockname()[1]}", alive.address]
            for _ in range(2):  # whichever of them a client begins with
                async with AsyncClient(addresses, api_key="secret") as client:
                    await client.start_training(documents(1))
                    began = time.monotonic()
                    await client.start_training(documents(1))
                    assert time.monotonic() - began < 1.0, "a client keeps to the address that answered"


async def test_pages_are_fetched_as_they_are_read(client: AsyncClient, service: ScriptedService) -> None:
    for n in range(5):
        await client.start_training(documents(1), training_task_id=f"t{n}")
    service.documents = [
        pb.Document(document_id=f"d{n}", state=pb.DOCUMENT_STATE_FAILED if n % 2 else pb.DOCUMENT_STATE_QUEUED) for n in range(6)
    ]
    trainings = client.list_trainings()
    assert (await anext(trainings)).training_task_id == "t0"
    assert len(service.asked(pb.ListTrainingsRequest)) == 1
    assert [training.training_task_id async for training in trainings] == ["t1", "t2", "t3", "t4"]
    failed = [d.document_id async for d in client.list_documents("t0", [pb.DOCUMENT_STATE_FAILED])]
    assert failed == ["d1", "d3", "d5"]


async def test_what_can_be_no_request_is_refused_with_its_field(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    given: Any
    for given, said in (
        (client.search("ducks", metadata={"year": 2026}), r"^metadata\['year'\] is of type int; .* such as '2026'\.$"),  # type: ignore[dict-item]
        (client.search("ducks", limit=1000), "^limit: 1,000 passages; at most 100 are answered"),
        (client.train_folder(tmp_path, metadata={7: "a"}), "^The key 7 of metadata is of type int"),  # type: ignore[dict-item]
        (client.start_training(numbered={"first": 1}), r"^numbered is of type dict; give a NumberedDocuments"),  # type: ignore[arg-type]
        (client.upload(5), "^The source is of type int; give a path, bytes, or an async iterator of bytes"),  # type: ignore[arg-type]
        (client.start_training(["a.txt"]), r"^documents\[0\] is of type str; give a DocumentInput"),  # type: ignore[list-item]
        (client.start_training(documents(1), training_task_id=""), "^'' cannot be a training's id"),
        (client.retry_failed("t", retry_task_id=""), "^'' cannot be a training's id"),
        (client.start_training(documents(1), training_task_id=5), "^5 cannot be a training's id"),  # type: ignore[arg-type]
        (client.get_training(5), r"^training_task_id cannot be 5; give a text\.$"),  # type: ignore[arg-type]
        (client.get_training(None), r"^training_task_id cannot be None; give a text\.$"),  # type: ignore[arg-type]
        (client.wait(None), r"^training_task_id cannot be None; give a text\.$"),  # type: ignore[arg-type]
        (client.start_training(None), r"^documents is of type NoneType; give several of DocumentInput"),  # type: ignore[arg-type]
        (client.start_training(documents(1)[0]), r"^documents is of type DocumentInput; give several"),  # type: ignore[arg-type]
        (client.search(5), r"^query cannot be 5; give a text\.$"),  # type: ignore[arg-type]
        (client.search("ducks", limit="5"), r"^limit cannot be '5'; give a whole number of 32 bits\.$"),  # type: ignore[arg-type]
        (client.search("ducks", document_ids=5), r"^document_ids cannot be \[5\]; give texts\.$"),  # type: ignore[arg-type]
        (client.search("ducks", metadata=["year"]), r"^metadata is of type list; give a mapping of texts\.$"),  # type: ignore[arg-type]
        (client.delete_documents(["a", 5]), r"^document_ids cannot be \['a', 5\]; give texts\.$"),  # type: ignore[list-item]
        (client.wait(b"\xff"), r"^training_task_id cannot be b'.xff'; give a text\.$"),  # type: ignore[arg-type]
        (client.get_usage(first_day="2026-05-31"), r"^first_day cannot be '2026-05-31'; give a datetime\.date\.$"),  # type: ignore[arg-type]
        (client.fleet.create_tenant("acme", plan="free", weight="1"), r"^weight cannot be '1'; give a number\.$"),  # type: ignore[arg-type]
        (client.fleet.update_plan("free", slots=2**40), r"^slots cannot be 1099511627776; give a whole number of 32 bits\.$"),
        (client.fleet.revoke_key("3"), r"^key_id cannot be '3'; give a whole number\.$"),  # type: ignore[arg-type]
    ):
        with pytest.raises(errors.UsageError, match=said):
            await given
    with pytest.raises(errors.UsageError, match=r"^page_size cannot be 'all'; give a whole number of 32 bits\.$"):
        client.list_trainings(page_size="all")  # type: ignore[arg-type]
    assert not service.requests


async def test_uploads_of_bytes_files_and_streams(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than two messages
    (tmp_path / "file").write_bytes(content)

    async def stream() -> AsyncIterator[bytes]:
        yield content[:1000]
        yield content[1000:]

    stored = [await client.upload(source) for source in (content, tmp_path / "file", stream())]
    assert {answer.uri for answer in stored} == set(service.blobs)
    assert list(service.blobs.values()) == [content]
    with pytest.raises(errors.InvalidRequestError, match="empty"):
        await client.upload(b"")


async def test_an_upload_is_sent_again_from_its_beginning_but_a_stream_is_not(client: AsyncClient, service: ScriptedService) -> None:
    service.failures["UploadDocument"] = [UNAVAILABLE]
    assert (await client.upload(b"some bytes")).size == 10

    async def stream() -> AsyncIterator[bytes]:
        yield b"some bytes"

    service.failures["UploadDocument"] = [UNAVAILABLE]
    with pytest.raises(errors.UnavailableError, match="Postgres did not answer"):
        await client.upload(stream())


async def test_what_ends_an_upload_in_its_middle_is_told_whoever_wins_the_race(client: AsyncClient, service: ScriptedService) -> None:
    refusal = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "At most 1 MiB.", "REQUEST_TOO_LARGE")
    service.failures["UploadDocument"] = [refusal] * 20
    refused = await asyncio.gather(*(client.upload(b"x" * 8_000_000) for _ in range(20)), return_exceptions=True)
    assert {(type(error), str(error)) for error in refused} == {(errors.RequestTooLargeError, "At most 1 MiB.")}
    service.failures["UploadDocument"] = [UNAVAILABLE] * 2
    stored = await asyncio.gather(*(client.upload(b"x" * 8_000_000) for _ in range(4)))
    assert [answer.size for answer in stored] == [8_000_000] * 4


async def test_the_fleet_is_operated(client: AsyncClient, service: ScriptedService) -> None:
    assert (await client.fleet.list_workers()).workers[0].worker_id == "worker-1"
    assert (await client.fleet.get_queue()).tenants[0].slots == 5
    for name in ("a", "b", "c"):
        await client.fleet.create_tenant(name, plan="free")
    await client.fleet.update_tenant("c", plan="paid", weight=2.0)
    assert [(t.tenant_id, t.plan) async for t in client.fleet.list_tenants()] == [("a", "free"), ("b", "free"), ("c", "paid")]
    await client.fleet.put_plan("paid", slots=30)
    assert [plan.slots for plan in await client.fleet.list_plans()] == [30]
    key = await client.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="a", label="laptop")
    await client.fleet.create_key("worker")
    await client.fleet.create_key("operator", label="me")
    await client.fleet.revoke_key(key.key_id)
    listed = [one async for one in client.fleet.list_keys()]
    assert [(one.key_id, one.role, one.tenant_id, one.HasField("revoke_time")) for one in listed] == [
        (12, fleet_pb2.ROLE_TENANT, "a", True),
        (13, fleet_pb2.ROLE_WORKER, "", False),
        (14, fleet_pb2.ROLE_OPERATOR, "", False),
    ]
    assert [one.label async for one in client.fleet.list_keys(tenant_id="a")] == ["laptop"]
    with pytest.raises(errors.KeyNotFoundError, match="There is no key 999"):
        await client.fleet.revoke_key(999)


async def test_states_classes_and_roles_may_be_words(client: AsyncClient, service: ScriptedService) -> None:
    await client.start_training(documents(1), training_task_id="t")
    assert [t.training_task_id async for t in client.list_trainings(["queued", "completed with failures"])] == ["t"]
    assert [t async for t in client.list_trainings("TRAINING_STATE_COMPLETED")] == []
    assert [d async for d in client.list_documents("t", ["failed", pb.DOCUMENT_STATE_QUEUED])] == []
    assert service.asked(pb.ListTrainingsRequest)[0].states == [
        pb.TRAINING_STATE_QUEUED,
        pb.TRAINING_STATE_COMPLETED_WITH_FAILURES,
    ]
    assert service.asked(pb.ListDocumentsRequest)[0].states == [pb.DOCUMENT_STATE_FAILED, pb.DOCUMENT_STATE_QUEUED]
    await client.retry_failed("t", error_classes=["crash"])
    assert service.asked(pb.RetryFailedDocumentsRequest)[0].error_classes == [pb.ERROR_CLASS_CRASH]
    with pytest.raises(errors.UsageError, match=r"'done' is none of: queued, processing, completed, "):
        await anext(client.list_trainings(["done"]))


async def test_the_sync_client_does_the_same(service: ScriptedService, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    async def watch(request: pb.WatchStatusRequest, context: object) -> AsyncIterator[pb.WatchStatusResponse]:
        for version, state in ((1, pb.TRAINING_STATE_PROCESSING), (2, pb.TRAINING_STATE_COMPLETED)):
            training = pb.Training(training_task_id=request.training_task_id, state=state, version=version)
            yield pb.WatchStatusResponse(training=training, resume_position=str(version))

    def use(address: str) -> None:
        with Client(address, api_key="secret") as client:
            started = client.train_folder(tmp_path, training_task_id="t")
            assert started.training.total == 1
            assert [update.training.version for update in client.watch("t")] == [1, 2]
            assert client.wait("t").state == pb.TRAINING_STATE_COMPLETED
            for update in client.watch("t"):  # left early
                assert update.training.version == 1
                break
            client.start_training(documents(1), training_task_id="u")
            client.start_training(documents(1), training_task_id="v")
            assert [training.training_task_id for training in client.list_trainings()] == ["t", "u", "v"]
            service.documents = [pb.Document(document_id="a.txt")]
            assert [document.document_id for document in client.list_documents("t")] == ["a.txt"]
            assert client.upload(b"abc").size == 3
            assert client.cancel("u").state == pb.TRAINING_STATE_CANCELLED
            with pytest.raises(errors.TrainingNotFoundError):
                client.get_training("nowhere")
            assert client.fleet.get_queue().pending_shards == 3
            assert client.fleet.create_tenant("acme", plan="free").plan == "free"
            assert [tenant.tenant_id for tenant in client.fleet.list_tenants()] == ["acme"]
        with pytest.raises(RuntimeError, match="closed"):
            client.get_training("t")

    service.watch = watch
    async with serving(service) as now:
        await asyncio.to_thread(use, now.address)


async def test_a_closed_client_says_so(service: ScriptedService) -> None:
    async with AsyncExitStack() as stack:
        now = await stack.enter_async_context(serving(service))
        client = AsyncClient(now.address, api_key="secret")
        await client.close()
        with pytest.raises(RuntimeError, match="This client is closed"):
            await client.get_training("t")
