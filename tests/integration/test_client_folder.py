"""A folder's files on their way to a service: which are sent, which are left out, and who is told."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest

from doctrain import AsyncClient, Skipped, Stored, errors, folder
from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import Failure, ScriptedService


async def test_a_folder_is_stored_with_bounded_concurrency_and_trained(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    for n in range(20):
        (tmp_path / f"{n:02}.txt").write_text(f"document {n}")
    stored: list[Stored] = []
    inputs = await client.upload_folder(tmp_path, concurrency=3, on_stored=stored.append)
    assert [document.document_id for document in inputs] == [f"{n:02}.txt" for n in range(20)]
    assert sorted(one.path.name for one in stored) == [document.document_id for document in inputs]
    assert [(one.files, one.of) for one in stored] == [(n, 20) for n in range(1, 21)]
    assert sum(one.size for one in stored) == sum(map(len, service.blobs.values()))
    assert service.most_uploads <= 3
    answer = await client.train_folder(tmp_path, "0*.txt", training_task_id="folder")
    assert answer.training.total == 10
    request = service.asked(pb.StartTrainingRequest)[-1]
    assert service.blobs[request.documents[3].uri] == b"document 3"


async def test_nothing_is_stored_for_a_dry_run_or_where_the_training_is_there_already(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    dry = await client.train_folder(tmp_path, training_task_id="t", validate_only=True)
    assert (dry.summary.documents, service.blobs) == (1, {})
    named = service.asked(pb.StartTrainingRequest)[-1].documents
    await client.train_folder(tmp_path, training_task_id="t")
    assert service.asked(pb.StartTrainingRequest)[-1].documents == named, "a blob is named by its content"
    assert list(service.blobs) == [named[0].uri]
    service.blobs.clear()
    (tmp_path / "b.txt").write_text("b")
    service.failures["StartTraining"] = [Failure(grpc.StatusCode.ALREADY_EXISTS, "The id is taken.", "TRAINING_EXISTS")] * 2
    with pytest.raises(errors.TrainingExistsError):
        await client.train_folder(tmp_path, training_task_id="t")
    with pytest.raises(errors.UsageError, match="'bad/id' cannot be a training's id; one has 1 to 128 characters"):
        await client.train_folder(tmp_path, training_task_id="bad/id")
    assert not service.blobs


async def test_more_documents_than_an_older_service_takes_in_a_request_go_by_manifest(
    client: AsyncClient, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_INLINE_DOCUMENTS", 2)
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"document {n}")
    await client.train_folder(tmp_path)
    request = service.asked(pb.StartTrainingRequest)[-1]
    assert not request.documents
    assert service.blobs[request.manifest_uri].count(b'"document_id"') == 3


async def test_what_is_said_of_documents_may_be_too_much_for_a_request_to_an_older_service(
    client: AsyncClient, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_INLINE_FIELDS", 12)
    for n in range(2):
        (tmp_path / f"{n}.txt").write_text(f"document {n}")
    await client.train_folder(tmp_path, metadata={"a": "1", "b": "2"})
    assert service.asked(pb.StartTrainingRequest)[-1].documents
    await client.train_folder(tmp_path, metadata={"a": "1", "b": "2", "c": "3"})
    assert service.asked(pb.StartTrainingRequest)[-1].manifest_uri
    monkeypatch.setattr(folder, "MAX_INLINE_FIELDS", 14)
    monkeypatch.setattr(folder, "MAX_INLINE_BYTES", folder.BESIDE_BYTES + 100)
    await client.train_folder(tmp_path, metadata={"a": "1", "b": "2", "c": "3"})
    assert service.asked(pb.StartTrainingRequest)[-1].manifest_uri


async def test_a_request_has_as_many_fields_as_the_service_tells(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    pairs = {str(n): "" for n in range(60)}
    service.limits.request_fields = 400 * 64 + folder.BESIDE_FIELDS
    for n in range(401):
        (tmp_path / f"{n}.txt").write_text(f"document {n}")
    await client.train_folder(tmp_path, metadata=pairs, validate_only=True)
    assert service.asked(pb.StartTrainingRequest)[-1].manifest_uri
    (tmp_path / "400.txt").unlink()
    await client.train_folder(tmp_path, metadata=pairs, validate_only=True)
    assert len(service.asked(pb.StartTrainingRequest)[-1].documents) == 400


async def test_a_file_that_the_service_would_not_take_is_no_document_of_the_training_whether_it_is_there_already_or_not(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    service.limits.document_bytes = 10
    (tmp_path / "small.txt").write_text("small")
    (tmp_path / "large.txt").write_text("larger than that")
    skipped: list[Skipped] = []
    for _ in range(2):
        await client.train_folder(tmp_path, training_task_id="t", on_skipped=skipped.append)
        assert [one.document_id for one in service.asked(pb.StartTrainingRequest)[-1].documents] == ["small.txt"]
    assert {one.reason for one in skipped} == {"It has more than 10 bytes, the most that the service takes."}
    assert {request.numbered.count for request in service.asked(pb.StartTrainingRequest) if request.HasField("numbered")} == {1}
    with pytest.raises(errors.UsageError, match="nothing was started"):
        await client.train_folder(tmp_path, strict=True)


async def test_only_what_cannot_have_room_whatever_is_kept_is_refused_before_a_file_is_sent(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    for name, content in (("a.txt", "a" * 60), ("b.txt", "b" * 60), ("again.txt", "a" * 60)):
        (tmp_path / name).write_text(content)
    service.limits = pb.GetLimitsResponse(plan="free", upload_bytes=pb.Allowance(used=0, limit=119))
    with pytest.raises(
        errors.QuotaExceededError, match=r"119 bytes of uploads, and 0 are kept; these files have together 120 or more"
    ) as told:
        await client.train_folder(tmp_path, validate_only=True)
    assert (told.value.reason, told.value.metadata["quota"]) == ("QUOTA_EXCEEDED", "upload_bytes")
    for used, limit, fits in ((0, 120, True), (59, 178, False), (60, 119, False), (60, 120, True), (500, 500, True), (9, 0, True)):
        service.limits.upload_bytes.CopyFrom(pb.Allowance(used=used, limit=limit))
        if fits:
            assert (await client.train_folder(tmp_path, validate_only=True)).summary.documents == 3
        else:
            with pytest.raises(errors.QuotaExceededError):
                await client.train_folder(tmp_path)
    assert not service.blobs


async def test_one_failed_upload_ends_the_folder_with_its_own_error(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n:02}.txt").write_text(f"document {n}")
    service.failures["UploadDocument"] = [Failure(grpc.StatusCode.UNAUTHENTICATED, "This key is not known.", "UNAUTHENTICATED")]
    with pytest.raises(errors.UnauthenticatedError, match="This key is not known"):
        await client.train_folder(tmp_path)
    assert not service.trainings


async def test_one_odd_file_is_left_out_and_the_others_go_on(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("a.txt", "b\n.txt", "empty.txt", "c.txt"):
        (root / name).write_text("" if name == "empty.txt" else name)
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    service.failures["UploadDocument"] = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "At most 1 MiB.", "REQUEST_TOO_LARGE")]
    skipped: list[Skipped] = []
    inputs = await client.upload_folder(root, concurrency=1, on_skipped=skipped.append)
    assert [document.document_id for document in inputs] == ["c.txt"]
    assert {os.fsencode(one.path.name): one.reason for one in skipped} == {
        b"b\n.txt": "Its name contains line breaks, tabs or other characters that cannot be shown.",
        b"empty.txt": "It is empty.",
        b"link.txt": "It is a link that leads out of the folder.",
        b"\xff.txt": "Its name is not UTF-8.",
        b"a.txt": "At most 1 MiB.",
    }
    assert b"secret" not in service.blobs.values()

    service.blobs.clear()
    with pytest.raises(errors.UsageError, match=r"4 files cannot be trained, so nothing was started:\n(.*\n)*.*empty\.txt: It is empty\."):
        await client.train_folder(root, strict=True)
    assert not service.blobs
    with pytest.raises(errors.UsageError, match="every file was left out"):
        await client.train_folder(root, "empty.txt")


async def test_a_file_that_vanishes_meanwhile_is_left_out(client: AsyncClient, service: ScriptedService, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    found = folder.scan(tmp_path)
    (tmp_path / "a.txt").unlink()
    skipped: list[Skipped] = []
    assert (await client.train_folder(found, on_skipped=skipped.append)).training.total == 1
    assert [(one.path.name, one.reason) for one in skipped] == [("a.txt", "It cannot be read: No such file or directory.")]
    with pytest.raises(errors.UsageError, match="1 file cannot be trained"):
        await client.train_folder(found, strict=True)


async def test_a_pipe_is_not_waited_for_though_it_was_a_file_when_the_folder_was_looked_at(
    client: AsyncClient, service: ScriptedService, tmp_path: Path
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    found = folder.scan(tmp_path)
    (tmp_path / "a.txt").unlink()
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(OSError, match="It is no regular file"):
        await client.upload(tmp_path / "a.txt")
    for dry in (True, False):
        skipped: list[Skipped] = []
        await client.train_folder(found, validate_only=dry, on_skipped=skipped.append)
        assert [(one.path.name, one.reason) for one in skipped] == [("a.txt", "It cannot be read: It is no regular file.")]


async def test_an_upload_that_is_refused_names_the_file(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(errors.InvalidRequestError, match=r"empty\.txt: The document is empty\.$"):
        await client.upload(tmp_path / "empty.txt")
