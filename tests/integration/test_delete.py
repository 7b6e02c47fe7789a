"""What deleting documents leaves: nothing, whatever trains them meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import obstore
import pytest

import doctrain
from doctrain.errors import NothingToRetryError, TrainingNotEndedError, TrainingNotFoundError
from doctrain.v1 import training_pb2
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.trainings import chunks
from doctrain_mesh.documents.blobs import BlobStore
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.indexing import Indexer, indexing, train
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, count=2) as running:
        yield running


@pytest.fixture
async def indexer(served: Coordinators) -> AsyncIterator[Indexer]:
    async with indexing(served) as worker:
        yield worker


@pytest.fixture
async def acme(served: Coordinators, indexer: Indexer) -> doctrain.AsyncClient:
    return await served.tenant("acme")


async def found(client: doctrain.AsyncClient, query: str = "harbour") -> set[str]:
    return {hit.document_id for hit in await client.search(query, limit=100)}


async def upload(client: doctrain.AsyncClient, document_id: str, text: str) -> training_pb2.DocumentInput:
    return training_pb2.DocumentInput(document_id=document_id, uri=(await client.upload(text.encode())).uri)


async def started(client: doctrain.AsyncClient, *documents: training_pb2.DocumentInput) -> str:
    return (await client.start_training(documents)).training.training_task_id


async def train_uploaded(client: doctrain.AsyncClient, document_id: str, text: str) -> None:
    await client.wait(await started(client, await upload(client, document_id, text)))


def blobs(served: Coordinators) -> list[tuple[str, str]]:
    """The bytes that are kept, each with its tenant."""
    folder = Path(served.settings.blob_url.removeprefix("file://")) / "tenants"
    return sorted((path.relative_to(folder).parts[0], path.read_text()) for path in folder.rglob("*") if path.is_file())


async def mentions(database: asyncpg.Connection[Any], word: str) -> list[str]:
    """The tables that hold a word anywhere."""
    tables = [
        row[0] for row in await database.fetch("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
    ]
    return [table for table in tables if await database.fetchval(f"select count(*) from {table} as row where row::text ilike '%{word}%'")]


async def test_a_deleted_document_leaves_nothing_and_deleting_it_again_nothing_more(
    served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    document = await upload(acme, "plans", "# Xylophon\n\nThe xylophon of the harbour.")
    document.metadata["owner"] = "xylophon"
    ended = await acme.wait(await started(acme, document))
    await train(acme, {"kept": "The harbour stays."})
    database = await served.database()
    assert set(await mentions(database, "xylophon")) == {"chunk", "document", "indexed_document"}
    assert await acme.delete_documents(["plans"], on_missing=pytest.fail) == 1
    assert await mentions(database, "xylophon") == []
    assert blobs(served) == [("acme", "The harbour stays.")]
    assert await found(acme) == {"kept"}
    assert (await acme.get_index()).document_count == 1
    missing: list[str] = []
    assert await acme.delete_documents(["plans", "never there"], on_missing=missing.append) == 0
    assert missing == ["plans", "never there"]
    assert [document.document_id async for document in acme.list_documents(ended.training_task_id)] == ["plans"]


async def test_bytes_stay_while_another_document_has_them(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    same = [await upload(acme, name, "The harbour.") for name in ("one", "two")]
    await acme.wait(await started(acme, *same))
    packed = {str(number): f"The harbour, {number}." for number in range(6)}
    await train(acme, packed)
    stranger = await served.tenant("stranger")
    await stranger.wait(await started(stranger, await upload(stranger, "own", "The harbour.")))
    pack = "".join(packed.values())
    assert blobs(served) == [("acme", pack), ("acme", "The harbour."), ("stranger", "The harbour.")]
    await acme.delete_documents(["one", *list(packed)[1:]])
    again = await acme.wait(await started(acme, *same[1:]))
    assert again.completed == 1
    assert await found(acme) == {"two", "0"}
    await acme.delete_documents(["two", "0"])
    assert blobs(served) == [("stranger", "The harbour.")]
    assert await found(stranger) == {"own"}


async def test_bytes_that_come_again_while_they_are_removed_are_stored_anew(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train_uploaded(acme, "a", "The harbour.")
    removing, go_on, delete = asyncio.Event(), asyncio.Event(), BlobStore.delete

    async def slowly(store: BlobStore, tenant_id: str, sha256: str) -> None:
        removing.set()
        await go_on.wait()
        await delete(store, tenant_id, sha256)

    monkeypatch.setattr(BlobStore, "delete", slowly)
    database = await served.database()
    async with asyncio.TaskGroup() as group:
        group.create_task(acme.delete_documents(["a"]))
        await removing.wait()
        again = group.create_task(acme.upload(b"The harbour."))
        waits = (
            "select exists (select 1 from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into upload%')"
        )
        await wait_until(lambda: again.done() or database.fetchval(waits))
        go_on.set()
    assert blobs(served) == [("acme", "The harbour.")]
    assert await database.fetchval("select array_agg(sha256) from upload") == [again.result().sha256]


async def test_bytes_stay_that_are_on_their_way_again(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train_uploaded(acme, "a", "The harbour.")
    gate, put = asyncio.Event(), cast("Any", obstore.put_async)
    coming = asyncio.Event()

    async def slowly(*args: Any, **keywords: Any) -> Any:
        coming.set()
        await gate.wait()
        return await put(*args, **keywords)

    monkeypatch.setattr(obstore, "put_async", slowly)
    async with asyncio.TaskGroup() as group:
        group.create_task(acme.upload(b"The harbour."))
        await coming.wait()
        assert await acme.delete_documents(["a"]) == 1
        gate.set()
    assert blobs(served) == [("acme", "The harbour.")]
    assert await (await served.database()).fetchval("select count(*) from upload") == 1


async def test_bytes_stay_while_a_numbered_training_has_them(served: Coordinators, acme: doctrain.AsyncClient, indexer: Indexer) -> None:
    gate = indexer.gates["20"] = asyncio.Event()
    data = (await acme.upload(b"The harbour, once more. " * 10)).uri
    await acme.wait(await started(acme, training_pb2.DocumentInput(document_id="whole", uri=f"{data}/0/20")))
    numbered = training_pb2.NumberedDocuments(uri_template=f"{data}/{{n}}/40", first=20, count=30)
    running = (await acme.start_training(numbered=numbered)).training.training_task_id
    assert await acme.delete_documents(["whole"]) == 1
    await wait_until(lambda: "20" in indexer.at_gate)
    gate.set()
    ended = await acme.wait(running)
    assert (ended.completed, ended.failed) == (30, 0)
    await acme.delete_documents([str(number) for number in range(20, 49)])
    assert len(blobs(served)) == 1
    assert await acme.delete_documents(["49"]) == 1
    assert blobs(served) == []


async def test_bytes_stay_for_those_of_a_numbered_training_that_failed(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    data = (await acme.upload(b"The harbour.")).uri
    numbered = training_pb2.NumberedDocuments(uri_template=f"{data}/{{n}}/5", first=7, count=2)  # the second is past the end
    ended = await acme.wait((await acme.start_training(numbered=numbered)).training.training_task_id)
    assert (ended.completed, ended.failed) == (1, 1)
    assert await acme.delete_documents(["7"]) == 1
    assert len(blobs(served)) == 1
    assert await acme.delete_documents(["8"]) == 0
    assert blobs(served) == []


async def test_bytes_stay_while_a_manifest_that_may_name_them_is_loaded(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "FIRST", 1)
    database = await served.database()
    await database.execute(
        "select pg_advisory_lock($1, hashint8(training)) from generate_series(1, 100) as training", AdvisoryLock.LOADING
    )  # no load goes on
    documents = [await upload(acme, name, f"The harbour of {name}.") for name in ("named", "unnamed")]
    await acme.wait(await started(acme, *documents))
    lines = [json.dumps({"document_id": name, "uri": documents[0].uri}) for name in ("first", "second", "third")]
    manifest = await acme.upload("\n".join(lines).encode())
    loading = (await acme.start_training(manifest_uri=manifest.uri)).training.training_task_id
    await acme.delete_documents(["named", "unnamed", "first", "third"])
    assert len(blobs(served)) == 3
    await database.execute("select pg_advisory_unlock_all()")
    ended = await acme.wait(loading)
    assert (ended.completed, ended.failed) == (3, 0)
    assert await found(acme) == {"second"}
    assert await acme.delete_documents(["named", "unnamed"]) == 0
    assert blobs(served) == [("acme", "The harbour of named."), ("acme", "\n".join(lines))]


async def test_a_training_that_was_started_before_does_not_bring_it_back_and_one_started_after_does(
    acme: doctrain.AsyncClient, indexer: Indexer
) -> None:
    gate = indexer.gates["late"] = asyncio.Event()
    older = await started(acme, *[training_pb2.DocumentInput(document_id=name, content=b"The harbour.") for name in ("late", "other")])
    await wait_until(lambda: "late" in indexer.at_gate)
    assert await acme.delete_documents(["late"]) == 0
    gate.set()
    ended = await acme.wait(older)
    assert (ended.completed, ended.failed) == (2, 0)
    assert await found(acme) == {"other"}
    await train(acme, {"late": "The harbour again."})
    assert await found(acme) == {"late", "other"}


async def test_a_version_that_was_started_before_does_not_come_back_in_the_place_of_the_deleted(
    acme: doctrain.AsyncClient, indexer: Indexer
) -> None:
    gate = indexer.gates["doc"] = asyncio.Event()
    older = await started(acme, training_pb2.DocumentInput(document_id="doc", content=b"The harbour of old."))
    await wait_until(lambda: "doc" in indexer.at_gate)
    del indexer.gates["doc"]
    await train(acme, {"doc": "The harbour of today."})
    assert await acme.delete_documents(["doc"]) == 1
    gate.set()
    assert (await acme.wait(older)).completed == 1
    assert await found(acme) == set()


async def test_deletes_amid_a_training_leave_no_document_behind(acme: doctrain.AsyncClient) -> None:
    names = [f"d{number:02}" for number in range(40)]
    running = await started(
        acme, *[training_pb2.DocumentInput(document_id=name, content=f"The harbour {name}.".encode()) for name in names]
    )
    await asyncio.gather(*(acme.delete_documents(names[place::4]) for place in range(4)), acme.delete_documents(names))
    ended = await acme.wait(running)
    assert ended.completed + ended.failed == 40  # whose bytes were not fetched yet ends FAILED
    assert {document.error.code async for document in acme.list_documents(running, ["failed"])} <= {"NOT_FOUND"}
    assert await found(acme) == set()
    assert (await acme.get_index()).chunk_count == 0


async def test_a_retry_leaves_out_what_was_deleted_since(acme: doctrain.AsyncClient) -> None:
    missing = [training_pb2.DocumentInput(document_id=name, uri=f"blob://{name * 64}") for name in ("a", "b")]
    failed = await acme.wait(await started(acme, *missing))
    assert failed.failed == 2
    assert await acme.delete_documents(["a"]) == 0
    retry = await acme.retry_failed(failed.training_task_id)
    assert [document.document_id async for document in acme.list_documents(retry.training_task_id)] == ["b"]
    await acme.delete_documents(["b"])
    assert isinstance(await refused(acme.retry_failed(failed.training_task_id)), NothingToRetryError)


async def test_all_of_a_training_goes_but_what_a_newer_one_replaced(acme: doctrain.AsyncClient) -> None:
    many = {f"d{number:03}": f"The harbour, {number}." for number in range(120)}
    first = await train(acme, many)
    await train(acme, {"d007": "The harbour anew.", "other": "Another harbour."})
    assert await acme.delete_documents(training_task_id=first.training_task_id) == 119
    assert await found(acme) == {"d007", "other"}
    assert await acme.delete_documents(training_task_id=first.training_task_id) == 0


async def test_a_training_that_runs_is_not_deleted_as_a_whole_until_it_is_cancelled(
    served: Coordinators, acme: doctrain.AsyncClient, indexer: Indexer
) -> None:
    gate = indexer.gates["slow"] = asyncio.Event()
    inputs = [training_pb2.DocumentInput(document_id=name, content=b"The harbour.") for name in ("quick", "slow")]
    running = await started(acme, *inputs)
    await wait_until(lambda: "slow" in indexer.at_gate)

    async def indexed() -> bool:
        return (await acme.get_index()).document_count == 1

    await wait_until(indexed)
    assert isinstance(await refused(acme.delete_documents(training_task_id=running)), TrainingNotEndedError)
    await acme.cancel(running)
    assert await acme.delete_documents(training_task_id=running) == 1
    gate.set()
    assert await found(acme) == set()


async def test_nobody_deletes_what_is_anothers(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    ended = await train(acme, {"doc": "The harbour."})
    stranger = await served.tenant("stranger")
    assert await stranger.delete_documents(["doc"]) == 0
    unknown = await refused(stranger.delete_documents(training_task_id=ended.training_task_id))
    assert isinstance(unknown, TrainingNotFoundError)
    assert await found(acme) == {"doc"}


async def test_deletes_of_what_no_training_ever_had_leave_no_marks(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    numbered = training_pb2.NumberedDocuments(uri_template="s3://bucket/{n}", first=5, count=10)
    await acme.cancel((await acme.start_training(numbered=numbered)).training.training_task_id)
    await acme.cancel(await started(acme, training_pb2.DocumentInput(document_id="doc", uri="s3://bucket/doc")))
    await train(acme, {"kept": "The harbour."})
    assert await acme.delete_documents(["doc", "4", "5", "14", "15", "015", "never", "kept"]) == 1
    database = await served.database()
    marks = await database.fetch("select document_id from indexed_document where deleted order by document_id")
    assert [row["document_id"] for row in marks] == ["14", "5", "doc", "kept"]


async def test_wrong_requests_name_their_fields(acme: doctrain.AsyncClient) -> None:
    for call in (acme.delete_documents(), acme.delete_documents(["a"], training_task_id="t"), acme.delete_documents([""])):
        error = await refused(call)
        assert error.reason == "INVALID_REQUEST"
        assert error.violations[0].field.startswith("document_ids")
    assert (await refused(acme.delete_documents(training_task_id="no spaces"))).violations[0].field == "training_task_id"
    assert await acme.delete_documents([f"{number}" for number in range(2500)]) == 0  # in three calls


async def test_bytes_that_come_with_a_training_stay_for_it_while_another_document_of_them_is_deleted(
    served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    await train(acme, {"one": "The harbour."})
    holding, asking = await served.database(), await served.database()
    waits = "select exists (select 1 from pg_locks where relation = 'training'::regclass and not granted)"
    async with holding.transaction():
        await holding.execute("lock table training in share mode")
        starting = asyncio.create_task(started(acme, training_pb2.DocumentInput(document_id="two", content=b"The harbour.")))
        await wait_until(lambda: asking.fetchval(waits))
        assert await acme.delete_documents(["one"]) == 1
    assert (await acme.wait(await starting)).completed == 1
    assert await found(acme) == {"two"}
