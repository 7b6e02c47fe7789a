"""What tenants get for good and for bad requests, from a coordinator on a real Postgres without workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.rpc import interceptors
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.waiting import wait_until


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, max_request_bytes=2**20, max_request_documents=50) as running:
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> doctrain.AsyncClient:
    return await served.tenant("acme")


def document(document_id: str = "one", **fields: object) -> pb.DocumentInput:
    source = {} if {"uri", "content"} & fields.keys() else {"content": b"text"}
    return pb.DocumentInput(document_id=document_id, **source, **fields)  # type: ignore[arg-type]


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=5, count=count)


def details(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The reason of an error and the fields that it names."""
    sent = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(sent).details:
        if not detail.Unpack(info):
            detail.Unpack(request)
    assert info.domain == "doctrain.dev"
    return info.reason, [violation.field for violation in request.field_violations]


WRONG = [
    (pb.StartTrainingRequest(), "documents"),
    (pb.StartTrainingRequest(documents=[document("a"), document("a")]), "documents[0].document_id"),
    (pb.StartTrainingRequest(documents=[document("")]), "documents[0].document_id"),
    (pb.StartTrainingRequest(documents=[document("x" * 513)]), "documents[0].document_id"),
    (pb.StartTrainingRequest(documents=[document("a\x07b")]), "documents[0].document_id"),
    (pb.StartTrainingRequest(documents=[document("a\x00b")]), "documents[0].document_id"),
    (pb.StartTrainingRequest(documents=[pb.DocumentInput(document_id="a")]), "documents[0]"),
    (pb.StartTrainingRequest(documents=[document("a", content=b"")]), "documents[0].content"),
    (pb.StartTrainingRequest(documents=[document("a", uri="ftp://host/x")]), "documents[0].uri"),
    (pb.StartTrainingRequest(documents=[document("a", uri="file:///etc/passwd")]), "documents[0].uri"),
    (pb.StartTrainingRequest(documents=[document("a", uri="https://user:secret@example.org/x")]), "documents[0].uri"),
    (pb.StartTrainingRequest(documents=[document("a", uri="https://127.0.0.1/x")]), "documents[0].uri"),
    (pb.StartTrainingRequest(documents=[document("a", media_type="x" * 256)]), "documents[0].media_type"),
    (pb.StartTrainingRequest(documents=[document("a", metadata={"k": "v" * 1025})]), "documents[0].metadata"),
    (pb.StartTrainingRequest(documents=[document("a", metadata={str(n): "v" * 1000 for n in range(9)})]), "documents[0].metadata"),
    (pb.StartTrainingRequest(training_task_id="no spaces", documents=[document()]), "training_task_id"),
    (pb.StartTrainingRequest(manifest_uri="ftp://x/y"), "manifest_uri"),
    (pb.StartTrainingRequest(manifest_uri="s3://bucket/../own/x"), "manifest_uri"),
    (pb.StartTrainingRequest(manifest_uri="s3://bucket/a/./b", validate_only=True), "manifest_uri"),
    (pb.StartTrainingRequest(documents=[document("a", uri="s3://bucket/.")]), "documents[0].uri"),
    (pb.StartTrainingRequest(numbered=pb.NumberedDocuments(uri_template="s3://bucket/../{n}", count=1)), "numbered.uri_template"),
    (pb.StartTrainingRequest(manifest_uri="s3://a/b", documents=[document()]), "documents"),
    (pb.StartTrainingRequest(numbered=pb.NumberedDocuments(uri_template="s3://b/x", count=1)), "numbered.uri_template"),
    (pb.StartTrainingRequest(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=0)), "numbered.count"),
    (pb.StartTrainingRequest(numbered=pb.NumberedDocuments(uri_template=f"blob://{'a' * 54}{{n}}", count=1)), "numbered.uri_template"),
]
"""Requests, each with the field that is wrong."""


async def test_a_wrong_request_names_its_field_and_stores_nothing(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = await served.key(1, "acme")
    for request, field in WRONG:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.StartTraining(request, metadata=(("authorization", f"Bearer {key}"),))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, request
        reason, fields = details(caught.value)
        assert (reason, field in fields) == ("INVALID_REQUEST", True), request
    assert [training async for training in acme.list_trainings()] == []


async def test_too_much_for_a_request_is_told_about_the_manifest(acme: doctrain.AsyncClient) -> None:
    many = await refused(acme.start_training([document(str(n)) for n in range(51)]))
    assert many.reason == "REQUEST_TOO_LARGE"
    assert "manifest" in str(many)
    large = await refused(acme.start_training([document("a", content=b"x" * (2**20 + 1))]))
    assert large.reason == "REQUEST_TOO_LARGE"


async def test_no_key_a_wrong_key_and_a_wrong_role_are_told_apart(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    codes = []
    for metadata in ((), (("authorization", "Bearer dt_tenant_wrong"),), (("authorization", f"Bearer {await served.key(3)}"),)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetTraining(pb.GetTrainingRequest(training_task_id="x"), metadata=metadata)
        codes.append(caught.value.code())
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]


async def test_a_repeated_start_is_the_same_training_and_other_content_is_refused(acme: doctrain.AsyncClient) -> None:
    first = await acme.start_training([document("a"), document("b")], training_task_id="t1")
    again = await acme.start_training([document("a"), document("b")], training_task_id="t1")
    assert not first.summary.existed
    assert again.summary.existed
    assert again.training.total == 2
    other = await refused(acme.start_training([document("a")], training_task_id="t1"))
    assert other.reason == "TRAINING_EXISTS"


async def test_equal_starts_that_race_make_one_training(acme: doctrain.AsyncClient) -> None:
    answers = await asyncio.gather(*(acme.start_training([document()], training_task_id="race") for _ in range(8)))
    assert sum(not answer.summary.existed for answer in answers) == 1
    assert len([training async for training in acme.list_trainings()]) == 1


async def test_a_dry_run_counts_and_stores_nothing(acme: doctrain.AsyncClient) -> None:
    answer = await acme.start_training([document("a"), document("a"), document("b")], validate_only=True)
    assert (answer.summary.documents, list(answer.summary.duplicate_ids)) == (3, ["a"])
    assert (answer.summary.plan, answer.summary.max_concurrency) == ("paid", 30)
    assert not answer.HasField("training")
    assert [training async for training in acme.list_trainings()] == []


async def test_a_dry_run_says_what_a_start_would_say_of_an_id_that_is_taken(acme: doctrain.AsyncClient) -> None:
    await acme.start_training([document("a")], training_task_id="mine")
    same = await acme.start_training([document("a")], training_task_id="mine", validate_only=True)
    assert (same.summary.documents, same.summary.existed, same.HasField("training")) == (1, True, False)
    other = await refused(acme.start_training([document("b")], training_task_id="mine", validate_only=True))
    assert other.reason == "TRAINING_EXISTS"


async def test_a_folder_that_was_trained_is_known_without_being_sent(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("a note")
    await acme.train_folder(folder, training_task_id="mine")
    sent: list[doctrain.Stored] = []
    again = await acme.train_folder(folder, training_task_id="mine", on_stored=sent.append)
    assert (again.summary.existed, sent) == (True, [])
    assert (await acme.train_folder(folder, training_task_id="mine", validate_only=True)).summary.existed
    (folder / "a.txt").write_text("another note")
    assert (await refused(acme.train_folder(folder, training_task_id="mine", on_stored=sent.append))).reason == "TRAINING_EXISTS"
    assert sent == []


async def test_a_message_of_an_upload_has_at_most_a_mebibyte(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    for size, fits in ((2**20, True), (2**20 + 1, False)):
        call = stub.UploadDocument(iter([pb.UploadDocumentRequest(chunk=b"x" * size, last=True)]), metadata=key)
        if fits:
            assert (await call).size == size
            continue
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details(caught.value)[0] == "REQUEST_TOO_LARGE"


async def test_a_waiting_training_says_why(acme: doctrain.AsyncClient) -> None:
    started = await acme.start_training([document()])
    assert started.training.state == pb.TRAINING_STATE_QUEUED
    assert "worker" in started.training.waiting_reason


async def test_another_tenants_training_is_the_same_as_none(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    await acme.start_training([document()], training_task_id="secret")
    other = await served.tenant("other")
    for name in ("secret", "nothing"):
        for call in (other.get_training(name), other.cancel(name), anext(other.watch(name)), anext(other.list_documents(name))):
            error = await refused(call)
            assert error.reason == "TRAINING_NOT_FOUND"
            assert str(error) == f"There is no training {name!r}."
    assert [training async for training in other.list_trainings()] == []


async def test_lists_go_by_pages_and_refuse_foreign_tokens(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    for n in range(5):
        await acme.start_training([document()], training_task_id=f"t{n}")
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    names, token = [], ""
    while True:
        page = await stub.ListTrainings(pb.ListTrainingsRequest(page_size=2, page_token=token), metadata=key)
        names += [training.training_task_id for training in page.trainings]
        token = page.next_page_token
        if not token:
            break
    assert names == ["t4", "t3", "t2", "t1", "t0"]
    for wrong in ("rubbish", "%%%", token + "AAAA" * 30):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListTrainings(pb.ListTrainingsRequest(page_token=wrong), metadata=key)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListTrainings(pb.ListTrainingsRequest(page_size=-1), metadata=key)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_documents_are_listed_by_state_with_what_was_given(acme: doctrain.AsyncClient) -> None:
    await acme.start_training([document("a", metadata={"lang": "en"}), document("b")], training_task_id="t")
    listed = [one async for one in acme.list_documents("t")]
    assert [one.document_id for one in listed] == ["a", "b"]
    assert dict(listed[0].metadata) == {"lang": "en"}
    assert [one async for one in acme.list_documents("t", states=[pb.DOCUMENT_STATE_FAILED])] == []
    assert len([one async for one in acme.list_documents("t", states=[pb.DOCUMENT_STATE_QUEUED])]) == 2


async def test_a_plan_bounds_the_trainings_that_have_not_ended(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    operator = await served.client(await served.key(3))
    await operator.fleet.put_plan("paid", slots=30, open_trainings=3)
    for name in ("a", "b", "c"):
        await acme.start_training([document()], training_task_id=name)
    error = await refused(acme.start_training([document()], training_task_id="d"))
    assert isinstance(error, doctrain.errors.QuotaExceededError)
    assert str(error) == "The plan paid allows 3 trainings that have not ended; wait until one ends, or cancel one."
    named = {"limit": "3", "unit": "trainings", "quota": "open_trainings", "subject": "tenant:acme"}
    assert (error.metadata, error.details.quotas) == (named, (str(error),))
    assert error.retry_after_seconds is not None
    assert (await acme.start_training([document()], training_task_id="c")).summary.existed, "a repeated call is no other training"
    assert isinstance(await refused(acme.retry_failed("c")), doctrain.errors.QuotaExceededError)
    await (await served.tenant("other")).start_training([document()])
    await acme.cancel("a")
    await acme.start_training([document()], training_task_id="d")
    error = await refused(operator.fleet.put_plan("paid", slots=30, open_trainings=2_000_000))
    assert [violation.field for violation in error.violations] == ["plan.open_trainings"]


async def test_cancel_ends_at_once_and_may_be_repeated(acme: doctrain.AsyncClient) -> None:
    await acme.start_training([document("a"), document("b")], training_task_id="t")
    assert (await acme.cancel("t")).state == pb.TRAINING_STATE_CANCELLED
    again = await acme.cancel("t")
    assert again.state == pb.TRAINING_STATE_CANCELLED
    assert [one.state async for one in acme.list_documents("t")] == [pb.DOCUMENT_STATE_CANCELLED] * 2
    updates = [update async for update in acme.watch("t")]
    assert updates[-1].training.state == pb.TRAINING_STATE_CANCELLED


@pytest.mark.parametrize("waits", [False, True], ids=["none", "late"])
async def test_a_request_that_does_not_come_is_not_waited_for(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(interceptors, "REQUEST_SECONDS", 0.2 if waits else 60.0)
    method: Any = (await served.channel()).stream_unary("/doctrain.v1.TrainingService/GetTraining")
    call = method(metadata=(("authorization", f"Bearer {await served.key(1, 'acme')}"),))
    if not waits:
        await call.done_writing()
    async with asyncio.timeout(20):
        assert await call.code() is (grpc.StatusCode.DEADLINE_EXCEEDED if waits else grpc.StatusCode.INVALID_ARGUMENT)


async def test_who_asks_for_more_at_once_than_is_served_waits_and_all_is_answered(acme: doctrain.AsyncClient) -> None:
    started = await asyncio.gather(*(acme.start_training([document()]) for _ in range(40)))
    assert len({answer.training.training_task_id for answer in started}) == 40


@pytest.mark.parametrize("sent", [1, 20], ids=["at once", "with most of it stored"])
@pytest.mark.parametrize(("limit", "seconds"), [("SILENCE_SECONDS", 2.0), ("UPLOAD_SECONDS", 6.0)], ids=["silent", "slow"])
async def test_an_upload_that_stops_is_given_up_and_leaves_nothing(
    served: Coordinators, acme: doctrain.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int, limit: str, seconds: float
) -> None:
    monkeypatch.setattr(f"doctrain_coordinator.rpc.uploads.{limit}", seconds)
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    call = stub.UploadDocument(metadata=(("authorization", f"Bearer {await served.key(1, 'acme')}"),))
    for _ in range(sent):
        await call.write(pb.UploadDocumentRequest(chunk=bytes(2**19)))
    with pytest.raises(grpc.aio.AioRpcError, match=f"{seconds:g} s") as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details(caught.value) == ("UPLOAD_STALLED", [])
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_uploads_answer_a_uri_that_only_their_tenant_can_use(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    lines = b"".join(json.dumps({"document_id": f"d{n}", "uri": "s3://bucket/x"}).encode() + b"\n" for n in range(3))
    stored = await acme.upload(lines)
    assert stored.uri.startswith("blob://")
    other = await served.tenant("other")
    foreign = await refused(other.start_training(manifest_uri=stored.uri, training_task_id="m"))
    unknown = await refused(other.start_training(manifest_uri="blob://" + "0" * 64, training_task_id="m"))
    assert str(foreign).replace(stored.uri, "") == str(unknown).replace("blob://" + "0" * 64, "")
    assert (await acme.start_training(manifest_uri=stored.uri, training_task_id="m")).training.total == 3
    stored = await acme.upload(b"some text")
    assert stored.uri == f"blob://{stored.sha256}", "clients name what they have not sent"
    assert (await acme.upload(b"some text")).uri == stored.uri
    empty = await refused(acme.upload(b""))
    assert empty.reason == "INVALID_REQUEST"


async def test_numbered_documents_load_whole_and_are_named_by_their_number(acme: doctrain.AsyncClient) -> None:
    started = await acme.start_training(numbered=numbered(120_000), training_task_id="n")
    assert started.training.total >= 5_000

    async def sealed() -> bool:
        return (await acme.get_training("n")).sealed

    await wait_until(sealed, 20)
    assert (await acme.get_training("n")).total == 120_000
    first = await anext(acme.list_documents("n"))
    assert (first.document_id, first.uri) == ("5", "s3://bucket/5")


async def test_several_wrong_fields_are_counted_and_one_is_the_sentence(acme: doctrain.AsyncClient) -> None:
    one = await refused(acme.start_training([document("a", content=b"")]))
    assert one.sentence == "The document is empty."
    assert str(one) == "documents[0].content: The document is empty."
    two = await refused(acme.start_training([document("a", content=b""), document("")]))
    assert str(two).splitlines() == [
        "2 fields of the request are wrong.",
        "  documents[0].content: The document is empty.",
        "  documents[1].document_id: A document needs an id.",
    ]
    nothing = await refused(acme.start_training([]))
    assert nothing.sentence == "There is nothing to train: name documents, a manifest or numbered documents."


async def test_a_watch_refuses_a_position_that_is_not_ours(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    await acme.start_training([document()], training_task_id="t")
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    call = stub.WatchStatus(pb.WatchStatusRequest(training_task_id="t", resume_position="elsewhere"), metadata=key)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_watch_that_begins_after_the_end_tells_the_state_first_and_every_document(
    served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    await acme.start_training([document(str(n)) for n in range(50)], training_task_id="t")
    database = await served.database()
    await database.execute("update document set state = 1, attempt = 1, tries = 1, started_at = now(), took_ms = 5")
    await database.execute("update shard set state = 4, open = 0, version = 2")
    await database.execute("update training set state = 3, completed = 50, version = 2, started_at = now(), ended_at = now()")
    updates = [update async for update in acme.watch("t", include_documents=True)]
    assert updates[-1].training.state == pb.TRAINING_STATE_COMPLETED
    told = [one.document_id for update in updates for one in update.documents]
    assert sorted(told, key=int) == [str(n) for n in range(50)]
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    call = stub.WatchStatus(pb.WatchStatusRequest(training_task_id="t", include_documents=True), metadata=key)
    first, *_, last = [response async for response in call]
    assert first.HasField("training"), "documents of nothing known could be shown to nobody"
    again = stub.WatchStatus(
        pb.WatchStatusRequest(training_task_id="t", include_documents=True, resume_position=first.resume_position), metadata=key
    )
    assert sum([len(response.documents) async for response in again]) == 50, "the first state's position loses no document"
    after = stub.WatchStatus(
        pb.WatchStatusRequest(training_task_id="t", include_documents=True, resume_position=last.resume_position), metadata=key
    )
    assert sum([len(response.documents) async for response in after]) == 0


async def test_a_watch_goes_on_at_another_coordinator_from_its_position(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, count=2, watch_heartbeat_seconds=0.2) as served:
        acme = await served.tenant("acme")
        await acme.start_training([document()], training_task_id="t")
        key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
        stubs = [
            training_pb2_grpc.TrainingServiceStub(await served.stack.enter_async_context(grpc.aio.insecure_channel(one.address)))
            for one in served.running
        ]
        call = stubs[0].WatchStatus(pb.WatchStatusRequest(training_task_id="t"), metadata=key)
        first = await _read_state(call)
        assert first.training.state == pb.TRAINING_STATE_QUEUED
        assert (await _read(call)).heartbeat
        call.cancel()
        resumed = stubs[1].WatchStatus(pb.WatchStatusRequest(training_task_id="t", resume_position=first.resume_position), metadata=key)
        assert (await _read_state(resumed)).training.version == first.training.version
        await acme.cancel("t")
        assert (await _read_state(resumed)).training.state == pb.TRAINING_STATE_CANCELLED
        assert await resumed.read() is grpc.aio.EOF


async def _read_state(call: Any) -> pb.WatchStatusResponse:
    """The next one that has the training: a busy machine may give signs of life before it."""
    while not (response := await _read(call)).HasField("training"):
        pass
    return response


async def _read(call: Any) -> pb.WatchStatusResponse:
    response = await call.read()
    assert isinstance(response, pb.WatchStatusResponse)
    return response
