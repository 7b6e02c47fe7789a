"""What `doctrain train` says of the documents of a folder, and what a dry run tells."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from doctrain.v1 import training_pb2 as pb
from testkit.scripted_service import Failure, ScriptedService
from testkit.shell import Shell, lines


async def test_what_is_said_of_every_document_of_a_folder(shell: Shell, service: ScriptedService, folder: Path) -> None:
    (folder / "d.zip").write_text("PK")
    labels = ("--metadata", "year=2026", "--metadata", "team=a=b", "--unpack")
    result = await shell("train", str(folder), *labels)
    assert result.exit_code == 0, result.output
    documents = service.asked(pb.StartTrainingRequest)[-1].documents
    assert {document.document_id: document.media_type for document in documents}["d.zip"] == "application/zip; unpack"
    assert all(document.metadata == {"year": "2026", "team": "a=b"} for document in documents)
    await shell("train", str(folder), "--type", "text/markdown")
    assert {document.media_type for document in service.asked(pb.StartTrainingRequest)[-1].documents} == {"text/markdown"}
    for wrong, said in (
        (("--metadata", "year"), "'year' is not KEY=VALUE."),
        (("--metadata", "year=1", "--metadata", "year=2"), "--metadata: 'year' has two values, '1' and '2'; give it one."),
        (("--id", ""), "'' cannot be a training's id"),
    ):
        refused = await shell("train", str(folder), *wrong)
        assert (refused.exit_code, said in refused.stderr) == (2, True)
    of_manifest = await shell("train", "--manifest", "s3://bucket/list.jsonl", *labels)
    assert (of_manifest.exit_code, "a manifest says them in its lines" in of_manifest.stderr) == (2, True)


async def test_a_dry_run_starts_nothing(shell: Shell, service: ScriptedService, folder: Path) -> None:
    result = await shell("train", str(folder), "--dry-run", "--watch")
    assert (result.exit_code, result.stdout) == (0, "It can be trained: 3 documents, at most 5 at once (plan free).\n")
    assert not service.trainings
    await shell("train", str(folder), "--id", "mine")
    again = await shell("train", str(folder), "--id", "mine", "--dry-run")
    said = "A training of this id and these documents was started before; nothing more would be started.\n"
    assert (again.exit_code, again.stdout) == (0, said)
    service.blobs.clear()
    wrong = await shell("train", str(folder), "--id", "bad/id")
    assert (wrong.exit_code, "cannot be a training's id" in wrong.stderr, service.blobs) == (2, True, {})


async def test_what_the_plan_does_not_allow_is_told_before_a_file_is_sent(shell: Shell, service: ScriptedService, folder: Path) -> None:
    sentence = "The plan free allows 2 documents in one training, and this one has 3; split it."
    for words in ((), ("--dry-run",)):
        service.failures["StartTraining"] = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence, "QUOTA_EXCEEDED")]
        result = await shell("train", str(folder), *words)
        assert (result.exit_code, result.stdout, result.stderr.endswith(f"Error: {sentence}\n")) == (4, "", True)
    assert (service.blobs, service.trainings) == ({}, {})


async def test_a_dry_run_is_refused_where_there_cannot_be_room_for_what_would_be_stored(
    shell: Shell, service: ScriptedService, folder: Path
) -> None:
    (folder / "a.txt").write_text("a" * 300)
    service.limits = pb.GetLimitsResponse(plan="free", upload_bytes=pb.Allowance(used=64, limit=300))
    for words in ((str(folder),), ("--manifest", str(folder / "a.txt"))):
        for dry in ((), ("--dry-run",)):
            result = await shell("train", *words, *dry)
            assert (result.exit_code, result.stdout) == (4, "")
            assert "The plan free allows 300 bytes of uploads, and 64 are kept; " in result.stderr
            assert "doctrain uploads --drop" in result.stderr
    assert (service.blobs, service.trainings) == ({}, {})
    service.limits.upload_bytes.limit = 0
    service.failures["UploadDocument"] = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "No more room.", "QUOTA_EXCEEDED")]
    assert (await shell("train", str(folder))).stderr.splitlines()[-1].startswith("Error: No more room.")


async def test_a_dry_run_says_how_much_of_a_manifest_it_has_read(
    shell: Shell, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.lines_read = 5000
    partly = await shell("train", "--manifest", "s3://b/m", "--dry-run")
    assert partly.stdout == "The first 5,000 lines are good (5,000 documents, at most 5 at once (plan free)); the rest was not read.\n"
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr("doctrain.folder.MAX_INLINE_DOCUMENTS", 0)
    service.lines_read = 1
    of_folder = await shell("train", str(tmp_path), "--dry-run")
    assert of_folder.stdout.startswith("The first file is good (1 document, ")
    service.lines_read = 5000
    started = await shell("train", "--manifest", "s3://b/m", "--id", "m")
    assert started.stdout.startswith("Training m: 5,000 documents read so far, the rest follows, at most 5 at once (plan free).")
    service.duplicates = ["a", "b\x1b"]
    twice = await shell("train", "--manifest", "s3://b/m", "--dry-run")
    assert twice.exit_code == 2
    assert twice.stdout == (
        "It cannot be trained: every document needs an id of its own, and these are duplicates: a, b\N{REPLACEMENT CHARACTER}.\n"
    )


async def test_a_dry_run_of_a_manifest_that_is_here_sends_how_it_begins_and_stores_nothing(
    shell: Shell, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doctrain.manifests.MOST_BYTES", 20)
    manifest = tmp_path / "manifest.jsonl"
    for content, sent, goes_on in (
        ("first\nsecond\n", b"first\nsecond\n", False),
        ("first\nsecond\nthird, cut off\n", b"first\nsecond\n", True),
        ("a line that is longer than that", b"a line that is longer", True),
    ):
        manifest.write_text(content)
        result = await shell("train", "--manifest", str(manifest), "--dry-run")
        assert result.exit_code == 0, result.output
        asked = service.asked(pb.StartTrainingRequest)[-1]
        assert (asked.manifest_beginning.lines, asked.manifest_beginning.goes_on, service.blobs) == (sent, goes_on, {})
    started = await shell("train", "--manifest", str(manifest))
    assert started.exit_code == 0
    request = service.asked(pb.StartTrainingRequest)[-1]
    assert (request.manifest_uri, request.HasField("manifest_beginning")) == (asked.manifest_uri, False)
    assert [*service.blobs] == [asked.manifest_uri]


async def test_a_folder_is_looked_through_beside_the_loop_that_heeds_ctrl_c(
    shell: Shell, service: ScriptedService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, loops, scandir = list[Path](), list[asyncio.AbstractEventLoop](), os.scandir

    def noted(path: Path) -> Any:
        looked_at.append(path)
        with suppress(RuntimeError):
            loops.append(asyncio.get_running_loop())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    assert (await shell("train", str(folder), "--dry-run")).exit_code == 0
    assert (looked_at[0], loops) == (folder, [])


async def test_a_prefix_keeps_two_folders_apart(shell: Shell, service: ScriptedService, folder: Path) -> None:
    await shell("train", str(folder), "--pattern", "*.txt", "--prefix", "2026/")
    assert [document.document_id for document in service.asked(pb.StartTrainingRequest)[-1].documents] == ["2026/a.txt", "2026/b.txt"]


async def test_of_several_files_the_folder_is_to_be_given(shell: Shell, folder: Path, service: ScriptedService) -> None:
    several = await shell("train", str(folder / "a.txt"), str(folder / "b.txt"))
    assert several.exit_code == 2
    assert several.stderr.endswith(
        "Error: Give one folder or one file. To train several files of a folder, give the folder and --pattern '*.md'.\n"
    )
    assert not service.requests


async def test_an_order_that_leaves_no_worker_is_told(shell: Shell, service: ScriptedService) -> None:
    service.has_workers = False
    drained = await shell("workers", "drain", "worker-3")
    assert "No worker is left that takes new work" in drained.stderr
    assert drained.exit_code == 0


async def test_what_no_training_names_is_shown_and_dropped(shell: Shell, service: ScriptedService) -> None:
    service.blobs["a"] = b"12345"
    assert (
        "No training names 1 upload, 5 bytes, manifests that were read included; drop them with: doctrain uploads --drop"
        in (await shell("uploads")).stdout
    )
    assert "Dropped, since no training named them: 1 upload, 5 bytes." in (await shell("uploads", "--drop")).stdout
    assert lines(await shell("uploads", "--json"))[0]["uploads"] == "0"
