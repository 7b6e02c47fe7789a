"""Trainings of manifests: how they are read, what is said of wrong lines, and what a dry run knows."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import doctrain
from doctrain import errors
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.trainings import chunks, starting
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.waiting import wait_until


def manifest(folder: Path, lines: list[str]) -> str:
    file = folder / "documents" / "manifest.jsonl"
    file.write_text("\n".join(lines))
    return file.as_uri()


def line(n: int) -> str:
    return f'{{"document_id": "d{n}", "uri": "s3://bucket/{n}"}}'


async def test_a_manifest_loads_whole(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    await acme.start_training(manifest_uri=manifest(tmp_path, [line(n) for n in range(12_000)]), training_task_id="m")

    async def sealed() -> bool:
        return (await acme.get_training("m")).sealed

    await wait_until(sealed, 20)
    training = await acme.get_training("m")
    assert (training.total, training.state) == (12_000, pb.TRAINING_STATE_QUEUED)
    listed = [one.document_id async for one in acme.list_documents("m")]
    assert listed == [f"d{n}" for n in range(12_000)]


async def test_a_wrong_line_among_the_first_stores_nothing(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    for wrong in ("not json", '{"document_id": "", "uri": "s3://b/x"}', '{"document_id": "x", "uri": "ftp://b/x"}', line(1)):
        error = await refused(acme.start_training(manifest_uri=manifest(tmp_path, [line(0), line(1), "", wrong])))
        assert error.reason == "INVALID_MANIFEST", wrong
        assert "Line 4 " in str(error)
    assert [training async for training in acme.list_trainings()] == []


@pytest.mark.parametrize("wrong", ["not json", line(17), '{"document_id": "zz", "uri": "s3://bucket/x", "\\u0000": 1}'])
async def test_a_wrong_line_further_on_ends_the_training_and_names_the_line(acme: doctrain.AsyncClient, tmp_path: Path, wrong: str) -> None:
    lines = [line(n) for n in range(7_000)]
    lines[6_500] = wrong
    await acme.start_training(manifest_uri=manifest(tmp_path, lines), training_task_id="m")
    ended = await acme.wait("m")
    assert ended.state == pb.TRAINING_STATE_FAILED
    assert "Line 6,501 " in ended.reason
    assert ('Duplicate id "d17"' in ended.reason) == (wrong == line(17))
    assert ended.total == 5_000
    first = await anext(acme.list_documents("m"))
    assert first.state == pb.DOCUMENT_STATE_CANCELLED


async def test_pages_of_documents_with_much_metadata_are_short(served: Coordinators, acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    """An attack: pages of many megabytes, built on the loop that answers heartbeats."""
    metadata = json.dumps({f"k{n}": "v" * 1000 for n in range(8)})
    lines = [f'{{"document_id": "d{n}", "uri": "s3://bucket/{n}", "metadata": {metadata}}}' for n in range(400)]
    await acme.start_training(manifest_uri=manifest(tmp_path, lines), training_task_id="m")
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    request, found, pages = pb.ListDocumentsRequest(training_task_id="m", page_size=1000), list[str](), 0
    while True:
        page = await stub.ListDocuments(request, metadata=key)
        assert page.ByteSize() < 1.2 * 2**20
        found += [document.document_id for document in page.documents]
        pages += 1
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == [f"d{n}" for n in range(400)]
    assert pages == 4
    few = pb.ListDocumentsRequest(training_task_id="m", page_size=3, states=[pb.DOCUMENT_STATE_QUEUED])
    assert len((await stub.ListDocuments(few, metadata=key)).documents) == 3


@asynccontextmanager
async def trickling() -> AsyncIterator[str]:
    """The URI of a manifest whose server never falls silent and never sends a line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\n\r\n')
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/manifest"


async def test_a_manifest_that_trickles_is_answered_and_loaded_later(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SECONDS", 0.1)
    monkeypatch.setattr(starting, "FIRST_LINES_SECONDS", 0.3)
    async with trickling() as uri, coordinators(postgres, tmp_path, allow_private_addresses=True) as served:
        acme = await served.tenant("acme")
        checked = await acme.start_training(manifest_uri=uri, validate_only=True)
        assert (checked.summary.documents, checked.summary.partial) == (0, True)
        started = await acme.start_training(manifest_uri=uri, training_task_id="m")
        assert (started.training.total, started.training.sealed, started.summary.partial) == (0, False, True)
        assert (await acme.cancel("m")).state == pb.TRAINING_STATE_CANCELLED


async def test_a_manifest_that_is_not_there_is_the_callers_mistake(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    error = await refused(acme.start_training(manifest_uri=(tmp_path / "documents" / "none").as_uri()))
    assert error.reason == "INVALID_REQUEST"


async def test_a_dry_run_of_a_manifest_says_what_it_has_read(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    lines = [line(n) for n in range(7_000)]
    lines[1:1] = ["", line(0), line(2)]
    lines[6_000] = "not json, and too far on to be seen"
    uri = manifest(tmp_path, lines)
    summary = (await acme.start_training(manifest_uri=uri, validate_only=True)).summary
    assert (summary.documents, summary.manifest_lines, summary.partial) == (5_000, 5_001, True)
    assert summary.duplicate_ids == ["d0", "d2"]
    with pytest.raises(errors.InvalidManifestError, match=r'Line 3 of the manifest: Duplicate id "d0"'):
        await acme.start_training(manifest_uri=uri)
    whole = (await acme.start_training(manifest_uri=manifest(tmp_path, [line(0), line(1)]), validate_only=True)).summary
    assert (whole.documents, whole.manifest_lines, whole.partial) == (2, 2, False)
    with pytest.raises(errors.InvalidRequestError, match="The manifest is empty"):
        await acme.start_training(manifest_uri=manifest(tmp_path, ["", ""]), validate_only=True)
    assert [training async for training in acme.list_trainings()] == []


async def test_a_dry_run_takes_how_a_manifest_begins_in_place_of_what_is_at_its_uri(acme: doctrain.AsyncClient) -> None:
    content = "\n".join(line(n) for n in range(3)).encode()
    uri = f"blob://{hashlib.sha256(content).hexdigest()}"

    async def tried(lines: bytes, *, goes_on: bool = False) -> pb.TrainingSummary:
        beginning = doctrain.ManifestBeginning(lines=lines, goes_on=goes_on)
        answer = await acme.start_training(manifest_uri=uri, manifest_beginning=beginning, training_task_id="m", validate_only=True)
        return answer.summary

    whole, part = await tried(content), await tried(content + b"\n" + line(1).encode(), goes_on=True)
    assert (whole.documents, whole.partial, whole.existed, whole.manifest_lines) == (3, False, False, 3)
    assert (part.documents, part.partial, list(part.duplicate_ids)) == (4, True, ["d1"])
    with pytest.raises(errors.InvalidManifestError, match="Line 2 of the manifest: It is not JSON"):
        await tried(line(0).encode() + b"\nnot json")
    with pytest.raises(errors.InvalidRequestError, match="The manifest is empty"):
        await tried(b"\n")
    assert (await acme.drop_uploads(validate_only=True)).kept_bytes == 0
    assert (await acme.upload(content)).uri == uri
    await acme.start_training(manifest_uri=uri, training_task_id="m")
    assert (await tried(content)).existed
    beginning = doctrain.ManifestBeginning(lines=content)
    numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=1)
    for wrong in (
        acme.start_training(manifest_uri=uri, manifest_beginning=beginning),
        acme.start_training(numbered=numbered, manifest_beginning=beginning, validate_only=True),
    ):
        error = await refused(wrong)
        assert [violation.field for violation in error.violations] == ["manifest_beginning"]


async def test_a_manifest_of_many_blank_lines_is_what_its_other_lines_are(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    blank = ["\n" * 2**25]
    with pytest.raises(errors.InvalidRequestError, match="The manifest is empty"):
        await acme.start_training(manifest_uri=manifest(tmp_path, blank))
    started = await acme.start_training(manifest_uri=manifest(tmp_path, [*blank, line(0)]))
    assert (started.summary.documents, started.summary.partial) == (1, False)
    started = await acme.start_training(manifest_uri=manifest(tmp_path, [line(0), *blank, line(1)]), training_task_id="m")

    async def sealed() -> bool:
        return (await acme.get_training("m")).sealed

    await wait_until(sealed, 20)
    assert (await acme.get_training("m")).total == 2


async def test_a_start_says_what_it_has_read_of_a_manifest(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    small = (await acme.start_training(manifest_uri=manifest(tmp_path, [line(0)]))).summary
    assert (small.documents, small.partial) == (1, False)
    large = (await acme.start_training(manifest_uri=manifest(tmp_path, [line(n) for n in range(200_000)]))).summary
    assert (large.documents >= 5_000, large.partial) == (True, True)
    counted = (await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=120_000))).summary
    assert (counted.documents, counted.partial) == (120_000, False)


async def test_a_byte_order_mark_is_no_part_of_the_first_line(acme: doctrain.AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "documents" / "manifest.jsonl"
    file.write_text(f"{line(0)}\n{line(1)}\n", encoding="utf-8-sig")
    assert (await acme.start_training(manifest_uri=file.as_uri())).training.total == 2
