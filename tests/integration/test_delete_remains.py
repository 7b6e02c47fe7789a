"""Deletes that break off in between are brought to their end, by the same call or by the mesh itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.search import remains
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.trainings import chunks
from doctrain_mesh.documents.artifacts import Artifacts, Origin
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import BlobUnavailableError
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.indexing import Indexer, indexing
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(remains, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(remains, "AGAIN_SECONDS", 0.2)
    async with coordinators(postgres, tmp_path, count=2) as running:
        yield running


@pytest.fixture
async def indexer(served: Coordinators) -> AsyncIterator[Indexer]:
    async with indexing(served) as worker:
        yield worker


@pytest.fixture
async def acme(served: Coordinators, indexer: Indexer) -> doctrain.AsyncClient:
    return await served.tenant("acme")


@pytest.fixture
async def database(served: Coordinators) -> asyncpg.Connection[Any]:
    return await served.database()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Any], str], None]:
    """Makes a method of the blob store fail at its next call."""

    def fail(owner: type[Any], name: str) -> None:
        method, failed = getattr(owner, name), False

        async def fails(*arguments: Any) -> Any:
            nonlocal failed
            if not failed:
                failed = True
                raise BlobUnavailableError("The store did not answer.", retry_after_seconds=0.1)
            return await method(*arguments)

        monkeypatch.setattr(owner, name, fails)

    return fail


def stored(served: Coordinators) -> set[str]:
    """The bytes that are kept, and the artifacts."""
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return {path.read_text() for path in root.rglob("*") if path.is_file()}


async def train_uploaded(served: Coordinators, client: doctrain.AsyncClient, names: list[str], version: str = "") -> pb.Training:
    """Trains a document by each name, of bytes of its own, with metadata and an artifact."""
    documents = []
    for name in names:
        uploaded = await client.upload(f"The harbour of {name}{version}.".encode())
        documents.append(pb.DocumentInput(document_id=name, uri=uploaded.uri, metadata={"owner": "xylophon"}))
        origin = Origin(1, "acme", name, hashlib.sha256(version.encode()).digest())
        await BlobStore(served.settings.blob_url).artifacts.put(origin, "page", f"page of {name}{version}".encode())
    return await client.wait((await client.start_training(documents)).training.training_task_id)


async def remembered(database: asyncpg.Connection[Any]) -> set[str]:
    """The documents whose metadata is in the record of trainings."""
    return {row["document_id"] for row in await database.fetch("select document_id from document where metadata is not null")}


async def taken_over(database: asyncpg.Connection[Any]) -> None:
    """Time passes, in which nobody repeats the call, until the mesh has removed what is left."""
    await database.execute("update deleted_document set due_at = now()")
    await wait_until(lambda: database.fetchval("select not exists (select 1 from deleted_document)"))


@pytest.mark.parametrize(("part", "method"), [(BlobStore, "delete"), (Artifacts, "remove_document")])
@pytest.mark.parametrize("by", ["training", "ids"])
async def test_what_a_call_that_broke_off_left_goes_when_it_is_made_again(
    served: Coordinators, acme: doctrain.AsyncClient, database: Any, once: Any, part: type[Any], method: str, by: str
) -> None:
    names = [f"d{number:02}" for number in range(60)]
    ended = await train_uploaded(served, acme, names)
    once(part, method)
    if by == "training":
        await acme.delete_documents(training_task_id=ended.training_task_id)
    else:
        await acme.delete_documents(names)
    assert stored(served) == set()
    assert await remembered(database) == set()
    assert await database.fetchval("select count(*) from deleted_document") == 0


@pytest.mark.parametrize("by", ["training", "ids"])
async def test_what_a_call_that_broke_off_left_goes_though_nobody_makes_it_again(
    served: Coordinators, acme: doctrain.AsyncClient, database: Any, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    ended = await train_uploaded(served, acme, ["a", "b"])
    held = asyncio.Event()

    async def stands_still(*_: Any) -> None:
        held.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "remove_document", stands_still)
        chosen: dict[str, Any] = {"training_task_id": ended.training_task_id} if by == "training" else {"document_ids": ["a", "b"]}
        call = asyncio.create_task(acme.delete_documents(**chosen))
        await held.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert await remembered(database) == {"a", "b"}
    await taken_over(database)
    assert stored(served) == set()
    assert await remembered(database) == set()


async def broken_off(acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch, **chosen: Any) -> None:
    """A delete that comes no further than the index, by a client that gives up."""

    async def fails(*_: Any) -> None:
        raise BlobUnavailableError("The store did not answer.", retry_after_seconds=60.0)

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "remove_document", fails)
        call = asyncio.create_task(refused(acme.delete_documents(**chosen)))
        await asyncio.wait([call], timeout=2)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_what_is_trained_anew_meanwhile_stays_and_what_was_before_goes(
    served: Coordinators, acme: doctrain.AsyncClient, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train_uploaded(served, acme, ["a", "b"])
    await broken_off(acme, monkeypatch, document_ids=["a", "b"])
    await train_uploaded(served, acme, ["a"], " anew")
    await train_uploaded(served, acme, ["b"])
    uploaded = await acme.upload(b"The harbour of a.")
    await taken_over(database)
    kept = {text for text in stored(served) if text.startswith("The")}
    assert kept == {"The harbour of a anew.", "The harbour of b.", "The harbour of a."}
    assert await database.fetchval("select count(*) from document where metadata is not null") == 2
    assert {hit.document_id for hit in await acme.search("harbour")} == {"a", "b"}
    again = await acme.start_training([pb.DocumentInput(document_id="again", uri=uploaded.uri)])
    assert (await acme.wait(again.training.training_task_id)).completed == 1


async def test_old_bytes_of_what_is_trained_anew_meanwhile_go(
    served: Coordinators, acme: doctrain.AsyncClient, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await train_uploaded(served, acme, ["a", "b"])
    await broken_off(acme, monkeypatch, training_task_id=ended.training_task_id)
    newer = await train_uploaded(served, acme, ["a"], " anew")
    assert await acme.delete_documents(training_task_id=ended.training_task_id) == 0
    assert {text for text in stored(served) if text.startswith("The")} == {"The harbour of a anew."}
    assert await database.fetchval("select count(*) from deleted_document") == 0
    assert await acme.delete_documents(training_task_id=newer.training_task_id) == 1
    assert stored(served) == set()


async def test_bytes_that_a_manifest_may_name_go_by_themselves_when_it_is_loaded(
    served: Coordinators, acme: doctrain.AsyncClient, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "FIRST", 1)
    names = [f"d{number:02}" for number in range(60)]
    ended = await train_uploaded(served, acme, names)
    await database.execute(
        "select pg_advisory_lock($1, hashint8(training)) from generate_series(1, 100) as training", AdvisoryLock.LOADING
    )  # no load goes on
    named = await acme.upload(b"The harbour of d07.")
    lines = [json.dumps({"document_id": name, "uri": named.uri, "metadata": {"owner": "xylophon"}}) for name in ("later", "d08")]
    manifest = await acme.upload("\n".join(lines).encode())
    loading = (await acme.start_training(manifest_uri=manifest.uri)).training.training_task_id
    assert await acme.delete_documents(training_task_id=ended.training_task_id) == 60
    assert await acme.delete_documents(["d08"]) == 0
    assert len(stored(served)) == 60 + 1
    await database.execute("select pg_advisory_unlock_all()")
    await acme.wait(loading)
    await taken_over(database)
    assert stored(served) == {"The harbour of d07.", "\n".join(lines)}
    assert await remembered(database) == {"later"}
