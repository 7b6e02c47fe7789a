"""What a plan allows beside documents at once: what is beyond is refused with whose limit it is, which, and when to ask again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import doctrain
from doctrain import folder
from doctrain.errors import DoctrainError, QuotaExceededError
from doctrain.fleet import AsyncFleet
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.trainings import chunks, failed_documents
from testkit.coordinator import Coordinators, refused
from testkit.waiting import wait_until


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)


def which(error: DoctrainError) -> tuple[str, str, str, str]:
    assert isinstance(error, QuotaExceededError)
    (limit,) = error.details.quotas
    assert error.sentence.startswith(limit)
    named = error.metadata
    return named["subject"], named["quota"], named["limit"], named["unit"]


async def test_a_retry_of_a_class_takes_room_for_what_failed_and_not_for_what_a_cancel_left_open(
    served: Coordinators, fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_documents, "WINDOW", 10)
    await fleet.put_plan("small", slots=5, open_documents=100)
    acme, database = await served.tenant("acme", "small"), await served.database()
    await acme.start_training(numbered=numbered(90), training_task_id="t")
    await database.execute("update document set state = 2, error_class = 1 where ordinal in (3, 44)")
    await database.execute("update training set failed = 2")
    await acme.cancel("t")
    await acme.start_training(numbered=numbered(20), training_task_id="other")
    await acme.retry_failed("t", error_classes="transient", retry_task_id="again")

    async def loaded() -> bool:
        return (await acme.get_training("again")).sealed

    await wait_until(loaded)
    assert (await acme.get_training("again")).total == 2


async def test_documents_of_a_training_and_of_all_that_have_not_ended(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("small", slots=5, training_documents=10, open_documents=15)
    acme = await served.tenant("acme", "small")
    large = await refused(acme.start_training(numbered=numbered(11)))
    assert which(large) == ("tenant:acme", "training_documents", "10", "documents")
    assert large.retry_after_seconds is None
    await fleet.put_plan("few", slots=5, open_documents=10)
    never = await refused((await served.tenant("third", "few")).start_training(numbered=numbered(150)))
    assert which(never) == ("tenant:third", "open_documents", "10", "documents")
    assert never.retry_after_seconds is None
    assert "this training has 150, so it can never start; split it" in never.sentence
    await acme.start_training(numbered=numbered(10), training_task_id="first")
    many = await refused(acme.start_training(numbered=numbered(6), training_task_id="second"))
    assert which(many) == ("tenant:acme", "open_documents", "15", "documents")
    assert many.retry_after_seconds is not None
    assert many.sentence.startswith("The plan small allows 15 documents that have not ended, and 10 have not;")
    await acme.start_training(numbered=numbered(5), training_task_id="second")
    assert (await acme.start_training(numbered=numbered(5), training_task_id="second")).summary.existed, "a repetition is no other training"
    await (await served.tenant("other", "small")).start_training(numbered=numbered(10))
    await acme.cancel("first")
    await acme.start_training([pb.DocumentInput(document_id=str(n), content=b"x") for n in range(10)])


async def test_a_dry_run_is_refused_where_the_start_would_be_and_nothing_is_sent_for_it(
    served: Coordinators, fleet: AsyncFleet, tmp_path: Path
) -> None:
    await fleet.put_plan("small", slots=5, open_trainings=2, training_documents=10, open_documents=15)
    acme = await served.tenant("acme", "small")
    manifest = (await acme.upload("".join(f'{{"document_id": "{n}", "uri": "s3://bucket/{n}"}}\n' for n in range(11)).encode())).uri
    given = [pb.DocumentInput(document_id=str(n), content=b"x") for n in range(11)]
    (tmp_path / "many").mkdir()
    for n in range(11):
        (tmp_path / "many" / f"{n}.txt").write_text(f"{n}")
    kept = kept_bytes(served)

    async def dry_runs() -> set[str]:
        runs = (
            acme.start_training(given, validate_only=True),
            acme.start_training(numbered=numbered(11), validate_only=True),
            acme.start_training(manifest_uri=manifest, validate_only=True),
            acme.train_folder(tmp_path / "many", validate_only=True),
            acme.train_folder(tmp_path / "many"),
        )
        return {which(await refused(run))[1] for run in runs}

    assert await dry_runs() == {"training_documents"}
    twice = await acme.start_training([*given, given[0]], validate_only=True)
    assert list(twice.summary.duplicate_ids) == ["0"], "which a start refuses before it looks at the plan"
    await fleet.put_plan("small", slots=5, open_trainings=2, open_documents=15)
    await acme.start_training(numbered=numbered(5), training_task_id="first")
    assert await dry_runs() == {"open_documents"}
    await acme.start_training(numbered=numbered(10), training_task_id="second")
    assert await dry_runs() == {"open_trainings"}
    known = await acme.start_training(numbered=numbered(10), training_task_id="second", validate_only=True)
    assert known.summary.existed, "a repetition is no other training"
    assert kept_bytes(served) == kept


async def test_a_manifest_that_turns_out_longer_than_the_plan_allows_ends_its_training(
    served: Coordinators, fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "FIRST", 5)
    await fleet.put_plan("small", slots=5, training_documents=10)
    acme = await served.tenant("acme", "small")
    lines = "".join(f'{{"document_id": "{n}", "uri": "s3://bucket/{n}"}}\n' for n in range(12))
    stored = await acme.upload(lines.encode())
    started = await acme.start_training(manifest_uri=stored.uri)
    ended = await acme.wait(started.training.training_task_id)
    assert ended.state == pb.TRAINING_STATE_FAILED
    assert ended.reason == "The tenant's plan allows 10 documents in one training; split the manifest."


def kept_bytes(served: Coordinators) -> int:
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


async def test_bytes_that_are_kept(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("small", slots=5, upload_bytes=100)
    acme = await served.tenant("acme", "small")
    first = await acme.upload(b"a" * 60)
    assert (await acme.upload(b"a" * 60)).uri == first.uri, "the same bytes are kept once"
    error = await refused(acme.upload(b"b" * 41))
    assert which(error) == ("tenant:acme", "upload_bytes", "100", "bytes")
    assert which(await refused(acme.start_training([pb.DocumentInput(document_id="a", content=b"c" * 41)])))[1] == "upload_bytes"
    assert kept_bytes(served) == 60
    await acme.start_training([pb.DocumentInput(document_id="a", uri=first.uri)], training_task_id="t")
    await acme.cancel("t")
    await acme.delete_documents(["a"])
    await acme.upload(b"b" * 41)


async def test_what_a_refused_training_has_stored_is_dropped_on_demand(served: Coordinators, fleet: AsyncFleet, tmp_path: Path) -> None:
    await fleet.put_plan("small", slots=5, upload_bytes=100)
    acme = await served.tenant("acme", "small")
    named = await acme.upload(b"a" * 30)
    await acme.start_training([pb.DocumentInput(document_id="a", uri=named.uri)], training_task_id="t")
    await acme.upload(b"b" * 50)
    (tmp_path / "c.txt").write_text("c" * 50)
    assert which(await refused(acme.train_folder(tmp_path, "*.txt")))[1] == "upload_bytes"
    seen = await acme.drop_uploads(validate_only=True)
    assert (seen.uploads, seen.bytes, seen.kept_bytes, seen.limit_bytes) == (1, 50, 80, 100)
    dropped = await acme.drop_uploads()
    assert (dropped.uploads, dropped.bytes, dropped.kept_bytes) == (1, 50, 30)
    assert kept_bytes(served) == 30
    assert (await acme.drop_uploads()).uploads == 0
    await acme.upload(b"d" * 70)


async def test_watches_at_once(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("small", slots=5, watches=1)
    acme = await served.tenant("acme", "small")
    await acme.start_training(numbered=numbered(1), training_task_id="t")
    watching = acme.watch("t")
    await anext(watching)
    second = acme.watch("t", patience_seconds=0.1)
    assert which(await refused(anext(second)))[1:] == ("watches", "1", "watches")
    await watching.aclose()

    async def watched() -> bool:
        try:
            await anext(acme.watch("t", patience_seconds=0.1))
        except QuotaExceededError:
            return False
        return True

    await wait_until(watched)


async def test_a_client_waits_for_its_turn_where_a_plan_allows_few_calls(served: Coordinators, fleet: AsyncFleet, tmp_path: Path) -> None:
    await fleet.put_plan("paced", slots=5, requests_per_second=20)
    acme = await served.tenant("acme", "paced")
    (tmp_path / "many").mkdir()
    for number in range(60):
        (tmp_path / "many" / f"{number}.txt").write_text(f"Document {number}.")
    started = await acme.train_folder(tmp_path / "many", training_task_id="t")
    assert started.training.total == 60
    watching = acme.watch("t")
    assert (await anext(watching)).training.total == 60
    await watching.aclose()
    answers = await asyncio.gather(*(acme.get_training("t") for _ in range(50)))
    assert {answer.training_task_id for answer in answers} == {"t"}


async def test_who_has_no_time_to_wait_for_a_turn_is_told_when_it_comes(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("rare", slots=5, requests_per_second=0.01)
    acme = await served.tenant("acme", "rare")
    await acme.get_usage()
    error = await refused(acme.get_usage())
    assert which(error) == ("tenant:acme", "requests_per_second", "0.01", "calls a second")
    assert error.retry_after_seconds is not None
    assert 10 < error.retry_after_seconds <= 100
    assert error.sentence.startswith("The plan rare allows 0.01 calls a second; call again in ")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"A stream can be sent once."

    another = await served.tenant("acme", "rare")
    assert which(await refused(another.upload(pieces())))[1] == "requests_per_second"


async def test_a_dry_run_stores_nothing_and_is_refused_where_files_or_their_manifest_have_no_room(
    served: Coordinators, fleet: AsyncFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "go_inline", lambda documents, limits: len(documents) <= 2)
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text("More bytes than there is room for.")
    await fleet.put_plan("small", slots=5)
    acme = await served.tenant("acme", "small")
    for room in (10, 100):
        await fleet.update_plan("small", upload_bytes=room)
        error = await refused(acme.train_folder(tmp_path, "*.txt", validate_only=True))
        assert (error.reason, error.metadata["quota"], error.metadata["limit"]) == ("QUOTA_EXCEEDED", "upload_bytes", str(room))
    await fleet.update_plan("small", upload_bytes=1_000)
    dry = await acme.train_folder(tmp_path, "*.txt", validate_only=True)
    assert (dry.summary.documents, dry.summary.partial) == (3, False)
    assert (await acme.drop_uploads(validate_only=True)).kept_bytes == 0


async def test_limits_that_can_be_none_are_refused(fleet: AsyncFleet) -> None:
    for wrong in (
        {"watches": 1001},
        {"open_documents": -1},
        {"requests_per_second": float("nan")},
        {"requests_per_second": 1e-300},
        {"upload_bytes": -1},
    ):
        error = await refused(fleet.put_plan("small", slots=5, **wrong))
        assert [violation.field for violation in error.violations] == [f"plan.{name}" for name in wrong]


async def test_a_wait_that_no_message_holds_is_told_as_a_day(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("small", slots=5, requests_per_second=1)
    database = await served.database()
    await database.execute("update plan set requests_per_second = 1e-300 where name = 'small'")
    acme = await served.tenant("acme", "small")
    await acme.get_index()
    error = await refused(acme.get_index())
    assert (which(error)[1], error.retry_after_seconds) == ("requests_per_second", 86_400)


def test_the_type_of_the_error_is_public() -> None:
    assert issubclass(doctrain.errors.QuotaExceededError, doctrain.errors.DoctrainError)
