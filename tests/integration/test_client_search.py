"""Searching and deleting by the SDK and by the command line, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from doctrain import AsyncClient, Client, SearchHit
from doctrain.errors import QuotaExceededError, TrainingNotEndedError, UsageError
from doctrain.v1 import search_pb2 as pb
from testkit.scripted_service import UNAVAILABLE, Failure, ScriptedService, serving
from testkit.shell import Shell, lines

HIT = SearchHit(
    document_id="reports/ducks.eml",
    training_task_id="t1",
    part="photo.pdf",
    page=3,
    heading="Birds > Ducks",
    snippet="…where ducks swim in summer…",
    snippet_matches=[pb.TextRange(start=7, end=12), pb.TextRange(start=21, end=27)],
    score=0.75,
    metadata={"year": "2026"},
)


@pytest.fixture
async def service() -> ScriptedService:
    service = ScriptedService()
    service.hits.append(HIT)
    return service


@pytest.fixture
async def address(service: ScriptedService) -> AsyncIterator[str]:
    async with serving(service) as now:
        yield now.address


@pytest.fixture
def shell(address: str) -> Shell:
    return Shell(address)


async def test_a_search_asks_what_was_asked(service: ScriptedService, address: str) -> None:
    async with AsyncClient(address, api_key="k") as client:
        assert await client.search("ducks") == [HIT]
        await client.search(
            "ducks",
            mode="words",
            limit=7,
            training_task_ids=["t1"],
            document_ids=["d1", "d2"],
            metadata={"year": "2026"},
            media_types=["text/plain"],
        )
        with pytest.raises(UsageError, match="hybrid, vectors, words"):
            await client.search("ducks", mode="guess")
    first, second = service.asked(pb.SearchRequest)
    assert first == pb.SearchRequest(query="ducks", mode=pb.SEARCH_MODE_HYBRID, filter=pb.SearchFilter())
    chosen = pb.SearchFilter(training_task_ids=["t1"], document_ids=["d1", "d2"], metadata={"year": "2026"}, media_types=["text/plain"])
    assert second == pb.SearchRequest(query="ducks", mode=pb.SEARCH_MODE_WORDS, limit=7, filter=chosen)


async def test_calls_are_made_again_when_the_service_was_away_and_not_when_it_has_too_much_to_do(
    service: ScriptedService, address: str
) -> None:
    busy = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "8 searches of yours.", "QUOTA_EXCEEDED", retry_after_seconds=0.5)
    service.failures["Search"] += [UNAVAILABLE, busy]
    async with AsyncClient(address, api_key="k") as client:
        with pytest.raises(QuotaExceededError) as caught:
            await client.search("ducks")
        assert caught.value.retry_after_seconds == 0.5
        assert await client.search("ducks") == [HIT]


async def test_a_large_delete_is_made_in_as_many_calls_as_it_takes(service: ScriptedService, address: str) -> None:
    service.index.document_count = 25
    service.deleted_at_once = 10
    async with AsyncClient(address, api_key="k") as client:
        assert await client.delete_documents(training_task_id="t1") == 25
        assert len(service.asked(pb.DeleteDocumentsRequest)) == 3
        service.requests.clear()
        assert await client.delete_documents(f"{number}" for number in range(2500)) == 0
        assert [len(request.document_ids) for request in service.asked(pb.DeleteDocumentsRequest)] == [1000, 1000, 500]
        service.requests.clear()
        await client.delete_documents("ab")
        assert list(service.asked(pb.DeleteDocumentsRequest)[0].document_ids) == ["ab"], "one document, not those of its letters"
        refusal = Failure(grpc.StatusCode.FAILED_PRECONDITION, "It has not ended.", "TRAINING_NOT_ENDED")
        service.failures["DeleteDocuments"].append(refusal)
        with pytest.raises(TrainingNotEndedError):
            await client.delete_documents(training_task_id="t1")


def test_the_client_without_asyncio_does_the_same() -> None:
    async def serve() -> None:
        service = ScriptedService()
        service.hits.append(HIT)
        async with serving(service) as now:
            await asyncio.to_thread(use, now.address)

    def use(address: str) -> None:
        with Client(address, api_key="k") as client:
            assert client.search("ducks", limit=1) == [HIT]
            assert client.delete_documents(["a"]) == 0
            assert client.get_index().model == "a-model"

    asyncio.run(serve())


async def test_search_prints_where_each_passage_stands(shell: Shell, service: ScriptedService) -> None:
    result = await shell("search", "ducks", "in", "summer", "--limit", "2", "--metadata", "year=2026", "--document", "a", "--type", "b/c")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        " 1. reports/ducks.eml, photo.pdf, page 3  (0.75)",
        "    Birds > Ducks",
        "    …where ducks swim in summer…",
    ]
    (asked,) = service.asked(pb.SearchRequest)
    assert (asked.query, asked.limit, dict(asked.filter.metadata)) == ("ducks in summer", 2, {"year": "2026"})
    assert (list(asked.filter.document_ids), list(asked.filter.media_types)) == (["a"], ["b/c"])


async def test_search_as_json_is_a_line_a_passage(shell: Shell) -> None:
    (hit,) = lines(await shell("search", "ducks", "--json"))
    assert (hit["document_id"], hit["page"], hit["heading"]) == ("reports/ducks.eml", 3, "Birds > Ducks")
    assert hit["snippet_matches"][0] == {"start": 7, "end": 12}
    assert hit["metadata"] == {"year": "2026"}


async def test_what_comes_from_a_document_steers_no_terminal(shell: Shell, service: ScriptedService) -> None:
    service.hits[:] = [SearchHit(document_id="a\x1b[2Jb", heading="\x07", snippet="x\x1b]0;y", score=1)]
    assert "\x1b[2J" not in (await shell("search", "x")).stdout
    assert "\x1b]0" not in (await shell("search", "x")).stdout


async def test_a_search_without_hits_says_among_what(shell: Shell, service: ScriptedService) -> None:
    service.hits.clear()
    assert (await shell("search", "x")).stdout == "Nothing is in the index yet: doctrain train FOLDER --watch\n"
    service.index.document_count, service.index.stale_document_count = 1200, 3
    said = (await shell("search", "x")).stdout
    assert said == "Nothing was found among 1,200 documents, 3 of which meaning cannot find until they are trained again.\n"
    assert (await shell("search", "x", "--json")).stdout == ""


async def test_what_a_filter_names_in_vain_is_said(shell: Shell, service: ScriptedService) -> None:
    service.unknown = {"unknown_training_task_ids": ["t9"], "unknown_document_ids": ["x\x1b"]}
    result = await shell("search", "ducks", "--training", "t9", "--document", "x\x1b")
    assert result.stderr == "There is no training t9.\nThe document x\N{REPLACEMENT CHARACTER} is not in the index.\n"
    assert result.stdout.startswith(" 1. reports/ducks.eml")


async def test_delete_says_how_many(shell: Shell, service: ScriptedService) -> None:
    service.index.document_count = 2
    assert (await shell("delete", "a", "b")).stdout == "2 documents deleted.\n"
    assert (await shell("delete", "a", "b")).stdout == "None of it was in the index.\n"
    assert lines(await shell("delete", "--training", "t1", "--json")) == [{"deleted_count": 0, "not_in_index": []}]
    service.index.document_count = 1
    assert (await shell("delete", "a", "nope", "n\x1b")).stdout == (
        "1 document deleted.\nNot in the index: nope, n\N{REPLACEMENT CHARACTER}\n"
    )
    assert lines(await shell("delete", "a", "--json")) == [{"deleted_count": 0, "not_in_index": ["a"]}]
    await shell("delete", "--training", "t1")
    assert service.asked(pb.DeleteDocumentsRequest)[-1] == pb.DeleteDocumentsRequest(training_task_id="t1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["delete"], "Name documents, or one training with --training."),
        (["delete", "a", "--training", "t"], "Name documents, or one training with --training."),
        (["search"], "Missing argument 'QUERY...'"),
        (["search", "x", "--metadata", "year"], "'year' is not KEY=VALUE."),
        (["search", "x", "--mode", "guess"], "'hybrid', 'vectors', 'words'"),
    ],
)
async def test_wrong_usage_is_told(shell: Shell, service: ScriptedService, words: list[str], said: str) -> None:
    result = await shell(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert service.requests == []


async def test_a_refusal_names_the_option(shell: Shell, service: ScriptedService) -> None:
    service.failures["Search"].append(
        Failure(grpc.StatusCode.INVALID_ARGUMENT, "Too long.", "INVALID_REQUEST", violations={"filter.document_ids[3]": "Too long."})
    )
    result = await shell("search", "x")
    assert (result.exit_code, result.stderr) == (2, "Error: --document: Too long.\n")


async def test_index_says_how_much_there_is(shell: Shell, service: ScriptedService) -> None:
    service.index.MergeFrom(pb.GetIndexResponse(document_count=2, chunk_count=31, stale_document_count=1))
    said = (await shell("index")).stdout
    assert said.startswith("2 documents in 31 passages. Model: a-model.\n1 document embedded with another model")
    assert lines(await shell("index", "--json"))[0]["chunk_count"] == "31"
