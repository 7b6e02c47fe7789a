"""Uploads that a training comes to name while they are being removed: it is answered before that or after it, never between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.trainings import chunks
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.errors import BlobNotFoundError
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import indexing
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]

# In this database: beside this test others wait in theirs.
_WAITING = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
WAITS = f"select exists ({_WAITING} and query like '%insert into training%')"
REMOVAL_WAITS = f"select exists ({_WAITING} and (query like '%arriving = 0%for update%' or query like '%lock_shared%'))"
START_WAITS = f"select exists ({_WAITING} and (query like '%key share of upload%' or query like '%xact_lock(%'))"
TEXTS = [b"The harbour.", b"The lighthouse."]
Remove: TypeAlias = Callable[[doctrain.AsyncClient], Coroutine[Any, Any, None]]


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, count=2) as running:
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> AsyncIterator[doctrain.AsyncClient]:
    async with indexing(served):
        yield await served.tenant("acme")


async def listed(client: doctrain.AsyncClient, uris: list[str]) -> dict[str, Any]:
    return {"documents": [pb.DocumentInput(document_id=f"new {uri}", uri=uri) for uri in uris]}


async def numbered(_: doctrain.AsyncClient, uris: list[str]) -> dict[str, Any]:
    return {"numbered": pb.NumberedDocuments(uri_template=f"{uris[-1]}/0/{{n}}", first=3, count=2)}


async def in_manifest(client: doctrain.AsyncClient, uris: list[str]) -> dict[str, Any]:
    lines = [json.dumps({"document_id": f"new {uri}", "uri": uri}) for uri in uris]
    return {"manifest_uri": (await client.upload("\n".join(lines).encode())).uri}


FORMS = {"listed": (listed, 10), "numbered": (numbered, 10), "manifest": (in_manifest, 10), "manifest that is loaded on": (in_manifest, 1)}


async def dropped(client: doctrain.AsyncClient) -> None:
    await client.drop_uploads()


async def deleted(client: doctrain.AsyncClient) -> None:
    await client.delete_documents(["old 0", "old 1"])


CASES = [*((dropped, name) for name in FORMS), (deleted, "listed")]


@pytest.fixture(params=CASES, ids=[f"{remove.__name__} {form}" for remove, form in CASES])
def case(request: pytest.FixtureRequest) -> tuple[Remove, str]:
    """How they are removed, and how a training names them."""
    remove, form = request.param
    return remove, form


@pytest.fixture
def remove(case: tuple[Remove, str]) -> Remove:
    return case[0]


@pytest.fixture
async def uris(acme: doctrain.AsyncClient, remove: Remove) -> list[str]:
    """Those of what is to be removed."""
    uris = [(await acme.upload(text)).uri for text in TEXTS]
    if remove is deleted:
        old = [pb.DocumentInput(document_id=f"old {place}", uri=uri) for place, uri in enumerate(uris)]
        await acme.wait((await acme.start_training(old)).training.training_task_id)
    return uris


@pytest.fixture
async def start(case: tuple[Remove, str], acme: doctrain.AsyncClient, uris: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a training is to be started with that names them, the last of them in any case."""
    form, first = FORMS[case[1]]
    monkeypatch.setattr(chunks, "FIRST", first)
    return await form(acme, uris)


async def test_a_training_is_answered_once_bytes_are_gone_that_were_to_go_before_it_came(
    served: Coordinators, acme: doctrain.AsyncClient, remove: Remove, start: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    removing, go_on, delete = asyncio.Event(), asyncio.Event(), BlobStore.delete

    async def slowly(store: BlobStore, tenant_id: str, sha256: str) -> None:
        removing.set()
        await go_on.wait()
        await delete(store, tenant_id, sha256)

    monkeypatch.setattr(BlobStore, "delete", slowly)
    database = await served.database()
    async with asyncio.TaskGroup() as group:
        removal = group.create_task(remove(acme))
        await removing.wait()
        starting = group.create_task(acme.start_training(**start))
        await wait_until(lambda: starting.done() or database.fetchval(START_WAITS))
        assert not starting.done()
        go_on.set()
        await removal
    ended = await acme.wait(starting.result().training.training_task_id)
    assert ended.completed == 0
    assert ended.state == pb.TRAINING_STATE_FAILED


async def test_bytes_stay_for_a_training_that_is_being_stored(
    served: Coordinators, acme: doctrain.AsyncClient, remove: Remove, uris: list[str], start: dict[str, Any]
) -> None:
    holding, asking = await served.database(), await served.database()
    async with asyncio.TaskGroup() as group, holding.transaction():
        await holding.execute("lock table training in share mode")
        starting = group.create_task(acme.start_training(**start))
        await wait_until(lambda: asking.fetchval(WAITS))
        removal = group.create_task(remove(acme))
        await wait_until(lambda: removal.done() or asking.fetchval(REMOVAL_WAITS))
        assert not removal.done()
    ended = await acme.wait(starting.result().training.training_task_id)
    assert (ended.completed, ended.failed) == (ended.total, 0)
    blobs = BlobStore(served.settings.blob_url)
    assert await blobs.get("acme", uris[-1], 100) == TEXTS[-1]
    for uri in uris[:-1]:
        if "numbered" not in start:
            assert await blobs.get("acme", uri, 100)
            continue
        with pytest.raises(BlobNotFoundError):
            await blobs.get("acme", uri, 100)
