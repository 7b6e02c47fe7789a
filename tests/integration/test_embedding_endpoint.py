"""An endpoint of embeddings as it behaves on bad days."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from time import time

import pytest

from doctrain_mesh import settings
from doctrain_mesh.embedding import Embedder, endpoint
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.errors import EmbeddingUnavailableError
from testkit.embedding_server import DIMENSIONS, EmbeddingServer, Fault, serve

KEY = "sk-secret-0123456789"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serve() as served:
        yield served


@pytest.fixture
async def embedder(server: EmbeddingServer) -> AsyncIterator[Embedder]:
    async with open_embedder(_settings(server)) as opened:
        yield opened


def _settings(server: EmbeddingServer, **more: float) -> settings.Settings:
    return settings.load(
        {}, embedding=f"openai:{server.url}", embedding_model="small", embedding_key=KEY, embedding_dimensions=DIMENSIONS, **more
    )


async def test_texts_go_in_batches_with_model_and_key(server: EmbeddingServer, embedder: Embedder) -> None:
    await embedder.embed([f"text {n}" for n in range(70)])
    assert [len(request["input"]) for request in server.requests] == [32, 32, 6]
    assert {request["model"] for request in server.requests} == {"small"}
    assert set(server.keys) == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(429, {"Retry-After": "0"}),
        Fault(503, {"Retry-After": formatdate(time() - 9)}),
        Fault(body=b"<html>"),
        Fault(body=b"{}"),
    ],
    ids=["500", "429", "503 with a date", "no JSON", "nonsense"],
)
async def test_what_fails_for_a_moment_is_tried_again(server: EmbeddingServer, embedder: Embedder, fault: Fault) -> None:
    server.faults.append(fault)
    assert (await embedder.embed(["text"])).shape == (1, DIMENSIONS)
    assert len(server.requests) == 2


async def test_the_endpoint_is_left_alone_as_long_as_it_asks(server: EmbeddingServer, embedder: Embedder) -> None:
    server.faults.append(Fault(429, {"Retry-After": "1"}))
    clock = asyncio.get_running_loop().time
    began = clock()
    await embedder.embed(["text"])
    assert clock() - began >= 1
    assert len(server.requests) == 2


async def test_one_who_asks_for_more_patience_than_there_is_gets_it_from_the_shard(server: EmbeddingServer, embedder: Embedder) -> None:
    server.faults.append(Fault(429, {"Retry-After": "120"}))
    with pytest.raises(EmbeddingUnavailableError) as failed:
        await embedder.embed(["text"])
    assert failed.value.retry_after_seconds == 120
    with pytest.raises(EmbeddingUnavailableError) as left_alone:
        await embedder.embed(["another"])
    assert 100 < (left_alone.value.retry_after_seconds or 0) <= 120
    assert len(server.requests) == 1


async def test_an_endpoint_that_stays_away_is_unavailable(server: EmbeddingServer, embedder: Embedder) -> None:
    server.faults.extend([Fault(502)] * 4)
    with pytest.raises(EmbeddingUnavailableError, match="502") as failed:
        await embedder.embed(["text"])
    assert (failed.value.retry_after_seconds or 0) >= 1
    assert len(server.requests) == 4


async def test_an_endpoint_that_does_not_listen_is_unavailable() -> None:
    with serve() as gone:
        pass
    async with open_embedder(_settings(gone)) as embedder:
        with pytest.raises(EmbeddingUnavailableError, match="could not be reached"):
            await embedder.embed(["text"])


async def test_an_endpoint_that_says_nothing_is_given_up(
    server: EmbeddingServer, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.2)
    server.faults.append(Fault(hang=True))
    assert (await embedder.embed(["text"])).shape == (1, DIMENSIONS)
    server.faults.extend([Fault(hang=True)] * 4)
    with pytest.raises(EmbeddingUnavailableError, match="did not answer within"):
        await embedder.embed(["text"])


@pytest.mark.parametrize(("status", "hint"), [(401, "DOCTRAIN_EMBEDDING_KEY"), (404, "DOCTRAIN_EMBEDDING_MODEL"), (302, "URL")])
async def test_what_the_operator_has_to_mend_is_not_tried_again_at_once(
    server: EmbeddingServer, embedder: Embedder, status: int, hint: str
) -> None:
    server.faults.append(Fault(status, {"Location": "https://elsewhere.example/"}, body=KEY.encode()))
    with pytest.raises(EmbeddingUnavailableError, match=hint):
        await embedder.embed(["text"])
    assert len(server.requests) == 1


async def test_vectors_of_another_length_are_refused(server: EmbeddingServer, embedder: Embedder) -> None:
    server.dimensions = 20
    with pytest.raises(EmbeddingUnavailableError, match=r"20 dimensions where DOCTRAIN_EMBEDDING_DIMENSIONS says 12"):
        await embedder.embed(["text"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [{"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [0,0,0,0,0,0,0,0,0,0,0,0]}]}',
        b'{"data": [{"index": 0, "embedding": [1e300,0,0,0,0,0,0,0,0,0,0,0]}]}',
    ],
    ids=["of another text", "without direction", "too long"],
)  # fmt: skip
async def test_vectors_that_are_none_are_never_given_on(server: EmbeddingServer, embedder: Embedder, body: bytes) -> None:
    server.faults.extend([Fault(body=body)] * 4)
    with pytest.raises(EmbeddingUnavailableError):
        await embedder.embed(["text"])


async def test_an_answer_without_end_is_given_up(server: EmbeddingServer, embedder: Embedder) -> None:
    server.faults.append(Fault(body=b" " * 2**20))
    with pytest.raises(EmbeddingUnavailableError, match="without end"):
        await embedder.embed(["text"])


async def test_no_more_requests_go_out_than_the_operator_allows(server: EmbeddingServer) -> None:
    clock = asyncio.get_running_loop().time
    async with open_embedder(_settings(server, embedding_requests_per_second=20.0)) as embedder:
        began = clock()
        await asyncio.gather(*(embedder.embed([f"text {n}"]) for n in range(11)))
        assert clock() - began >= 0.5


async def test_the_key_is_in_no_log_and_in_no_error(server: EmbeddingServer, embedder: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults.extend([Fault(500, body=KEY.encode()), Fault(403, body=KEY.encode())])
    with pytest.raises(EmbeddingUnavailableError) as failed:
        await embedder.embed(["text"])
    told: BaseException | None = failed.value
    while told is not None:
        assert KEY not in repr(told)
        told = told.__cause__
    assert KEY not in caplog.text
    assert "httpcore2" in caplog.text  # what the library tells was looked at, too
