"""Deletes that take several calls: each goes on where the one before ended, at one place among trainings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import doctrain
from doctrain.v1 import search_pb2, search_pb2_grpc
from doctrain_coordinator.search import deleting
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import indexing, train

pytestmark = [pytest.mark.timeout(120)]
NAMES = [f"d{number}" for number in range(6)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    """Two, each of whose calls has the time for two documents."""
    monkeypatch.setattr(deleting, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(deleting, "BATCH_DOCUMENTS", 2)
    async with coordinators(postgres, tmp_path, count=2) as running, indexing(running):
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> doctrain.AsyncClient:
    client = await served.tenant("acme")
    await train(client, dict.fromkeys(NAMES, "The harbour."))
    return client


class Calls:
    """A tenant's bare calls, one after the other at each coordinator."""

    def __init__(self, stubs: list[search_pb2_grpc.SearchServiceAsyncStub], key: str) -> None:
        self._stubs, self._metadata = stubs, (("authorization", f"Bearer {key}"),)

    async def delete(self, position: str = "", **chosen: Any) -> search_pb2.DeleteDocumentsResponse:
        self._stubs.reverse()
        request = search_pb2.DeleteDocumentsRequest(resume_position=position, **chosen)
        return await self._stubs[0].DeleteDocuments(request, metadata=self._metadata)


@pytest.fixture
async def calls(served: Coordinators, acme: doctrain.AsyncClient) -> Calls:
    stubs = [search_pb2_grpc.SearchServiceStub(await served.channel(number)) for number in (0, 1)]
    return Calls(stubs, await served.key(1, "acme"))


async def found(client: doctrain.AsyncClient) -> set[str]:
    return {hit.document_id for hit in await client.search("harbour", limit=100)}


async def test_each_call_goes_on_behind_the_one_before(acme: doctrain.AsyncClient, calls: Calls) -> None:
    first = await calls.delete(document_ids=NAMES)
    second = await calls.delete(first.resume_position, document_ids=NAMES)
    again = await calls.delete(first.resume_position, document_ids=NAMES)
    last = await calls.delete(second.resume_position, document_ids=NAMES)
    assert [list(answer.deleted_document_ids) for answer in (first, second, again, last)] == [NAMES[:2], NAMES[2:4], [], NAMES[4:]]
    assert [answer.complete for answer in (first, second, again, last)] == [False, False, False, True]
    assert last.resume_position == ""
    assert await found(acme) == set()


async def test_what_a_training_indexes_that_started_after_the_first_call_stays(acme: doctrain.AsyncClient, calls: Calls) -> None:
    first = await calls.delete(document_ids=NAMES)
    await train(acme, {"d1": "The harbour anew.", "d5": "The harbour anew."})
    second = await calls.delete(first.resume_position, document_ids=NAMES)
    assert (await calls.delete(second.resume_position, document_ids=NAMES)).deleted_document_ids == ["d4"]
    assert await found(acme) == {"d1", "d5"}


async def test_a_client_comes_to_the_end_of_documents_and_of_a_training(acme: doctrain.AsyncClient) -> None:
    missing: list[str] = []
    assert await acme.delete_documents([*NAMES, "never"], on_missing=missing.append) == len(NAMES)
    assert missing == ["never"]
    again = await train(acme, dict.fromkeys(NAMES, "The harbour once more."))
    assert await acme.delete_documents(training_task_id=again.training_task_id) == len(NAMES)
    assert await found(acme) == set()


@pytest.mark.parametrize("position", ["made up", "another request's"])
async def test_a_position_is_of_the_request_that_it_was_answered_to(calls: Calls, position: str) -> None:
    given = (await calls.delete(document_ids=NAMES)).resume_position if position == "another request's" else position
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await calls.delete(given, document_ids=NAMES[1:])
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "leave it empty to start over" in (refused.value.details() or "")
