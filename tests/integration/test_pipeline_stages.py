"""The stages of the pipeline replaced, away, slow or without end: what a document may take, and what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from doctrain_mesh import settings
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.embedding.choice import Choice, Kind
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.errors import BlobUnavailableError, StoreUnavailableError
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.postgres import Pool
from doctrain_worker.pipeline import plugins
from doctrain_worker.pipeline.index import IndexedDocument, index
from doctrain_worker.pipeline.pipeline import open_pipeline
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, ShardContext
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.text.chunking import embedded_text
from testkit import embedding_server
from testkit.limits import LIMITS
from testkit.pipelines import STAGES_OF_TEXT, TESTS, Bench, changed, replaced, worked
from testkit.stages import digest

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("pipeline stages")]


async def test_a_source_that_is_away_is_worth_another_try(bench: Bench) -> None:
    async def away(*_: object) -> bytes:
        raise BlobUnavailableError("The object store did not answer.", retry_after_seconds=7.0)

    outcome = await changed(bench, fetch=away).train("away.txt", b"Words.")
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.code, outcome.retry_after_seconds) == (ErrorClass.TRANSIENT, "UNAVAILABLE", 7.0)


async def test_a_postgres_that_is_away_costs_a_document_no_try(bench: Bench) -> None:
    tries = []

    async def index(*row: Any) -> bool:
        tries.append(row)
        if len(tries) < 3:
            raise StoreUnavailableError("Postgres did not answer.")
        return await bench.pipeline.index(*row)

    outcome = await changed(bench, index=index).train("patient.txt", b"Words.")
    assert isinstance(outcome, Done)
    assert worked(outcome) == STAGES_OF_TEXT
    assert [row["text"] for row in await bench.rows("patient.txt")] == ["Words."]


async def test_time_in_line_is_a_stage_of_its_own_and_no_time_of_the_others(bench: Bench) -> None:
    async with replaced(bench, limits=replace(LIMITS, children=1)) as narrow:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(narrow.train(f"line-{n}.txt", b"Words and more words. " * 200) for n in range(6)))
        elapsed = time.monotonic() - began
    stages = [stage for outcome in outcomes for stage in outcome.stages]
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert any(stage.name == "wait" for stage in stages)
    assert sum(stage.seconds for stage in stages if stage.name == "embed") <= elapsed, "one child embeds one document at a time"


DIGESTS = Choice(Kind.FUNCTION, "testkit.stages:Digests")


async def test_a_stage_can_be_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    async with replaced(bench, stages=Stages(read="testkit.stages:shout")) as own:
        assert isinstance(await own.train("quiet.txt", b"Not so loud."), Done)
    assert [row["text"] for row in await bench.rows("quiet.txt")] == ["NOT SO LOUD."]


async def index_as_loud(pool: Pool, shard: ShardContext, document: DocumentTask, found: IndexedDocument) -> bool:
    """A stage ``index`` that says of every document that it is loud."""
    return await index(pool, shard, document, replace(found, media_type="text/x-loud"))


async def test_the_stage_that_indexes_is_replaced_by_its_setting(bench: Bench) -> None:
    chosen = plugins.stages(settings.load({"DOCTRAIN_STAGE_INDEX": f"{__name__}:index_as_loud"}))
    async with replaced(bench, stages=chosen) as own:
        assert isinstance(await own.train("noted.txt", b"Words that are kept."), Done)
    document = await bench.document("noted.txt")
    assert document is not None
    assert document["media_type"] == "text/x-loud"
    assert [row["text"] for row in await bench.rows("noted.txt")] == ["Words that are kept."]


async def test_a_document_of_many_chunks_is_indexed_whole_and_in_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    text = "\n\n".join(f"# Part {n}\n\n" + f"Sentence {n} of a long text. " * 25 for n in range(3000))
    async with replaced(bench, replace(LIMITS, children=2), model=DIGESTS) as own:
        for version in (text.replace("long", "short"), text):
            outcome = await own.train("long.md", version.encode())
            assert isinstance(outcome, Done), outcome
            assert worked(outcome) == STAGES_OF_TEXT
    rows = await bench.rows("long.md")
    assert len(rows) >= 3000
    assert isinstance(outcome, Done)
    assert outcome.chunks == len(rows)
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    for row in rows:
        assert row["text"] == text[row["start_offset"] : row["end_offset"]]
        assert row["embedding"] == str(digest(embedded_text(row["heading"], row["text"]))).replace(" ", "").replace(".0", "")


async def test_a_document_of_too_many_chunks_is_refused_before_it_is_embedded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    async with replaced(bench, model=DIGESTS) as own:
        outcome = await own.train("endless.txt", b"a few words, slowly.\n\n" * 180_000)
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.code, outcome.final) == (ErrorClass.RESOURCE, "TOO_LARGE", True)
    assert "3,959,998 characters, makes more than 4,000 chunks" in outcome.sentence
    assert "embed" not in [stage.name for stage in outcome.stages]


async def test_a_document_that_takes_too_long_in_all_ends_and_one_that_had_to_wait_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    slow = "\n\n".join(["# Slowly\n\n" + "Words go slowly here. " * 40] * 600).encode()
    async with replaced(bench, replace(LIMITS, total_seconds=6), model=DIGESTS) as own:
        outcome = await own.train("slow.md", slow)
        assert isinstance(outcome, Failure)
        assert (outcome.error_class, outcome.code, outcome.final) == (ErrorClass.RESOURCE, "TIME_LIMIT", True)
        outcomes = await asyncio.gather(*(own.train(f"slow-{n}.md", slow) for n in range(5)))
    waited = {(outcome.error_class, outcome.code) for outcome in outcomes if isinstance(outcome, Failure)}
    assert (ErrorClass.TRANSIENT, "BUSY") in waited


async def test_a_short_document_does_not_wait_for_a_long_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    slow = "\n\n".join(["# Slowly\n\n" + "Words go slowly here. " * 40] * 900).encode()
    async with replaced(bench, replace(LIMITS, children=2), model=DIGESTS) as own:
        long = asyncio.create_task(own.train("slow-long.md", slow))
        for n in range(3):
            assert isinstance(await own.train(f"short-{n}.txt", b"A few words."), Done)
            assert not long.done()
        long.cancel()
        await asyncio.wait({long})


@asynccontextmanager
async def slow_server() -> AsyncIterator[tuple[str, asyncio.Semaphore]]:
    """A server whose answers drip and never end; the semaphore counts those that it has begun."""
    begun = asyncio.Semaphore(0)
    answers: set[asyncio.Task[None]] = set()
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answers.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nThe first words")
            begun.release()
            while not (writer.is_closing() or over.is_set()):
                writer.write(b" ")
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await over.wait()
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.txt", begun
        over.set()
        await asyncio.gather(*answers)


async def test_documents_that_hardly_arrive_hold_up_no_other_tenants_and_end_in_time(bench: Bench) -> None:
    sources = Sources(BlobStore("memory:///"), UriRules(file_root=str(bench.root), allow_private_addresses=True))
    drip = msgspec.structs.replace(bench.shard, tenant=2, tenant_id="drip")
    async with slow_server() as (uri, begun), Guardian.open() as guardian, AsyncExitStack() as stack:
        for fetch_seconds, hangs in ((600.0, True), (0.3, False)):
            pipeline = await stack.enter_async_context(
                open_pipeline(
                    guardian,
                    sources=sources,
                    database=bench.pool,
                    isolation=isolation.choose(),
                    limits=replace(LIMITS, fetch_seconds=fetch_seconds),
                )
            )
            slow = [asyncio.create_task(pipeline.process(DocumentTask(n, f"slow-{n}", uri), drip)) for n in range(40)]
            if hangs:
                for _ in slow:
                    await begun.acquire()
                own = Bench(pipeline, bench.root, bench.pool, bench.shard)
                assert isinstance(await own.train("meanwhile.txt", b"Other words."), Done)
                assert not any(task.done() for task in slow)
                for task in slow:
                    task.cancel()
                await asyncio.wait(slow)
                continue
            for outcome in await asyncio.gather(*slow):
                assert isinstance(outcome, Failure)
                assert (outcome.error_class, outcome.code) == (ErrorClass.RESOURCE, "FETCH_TIME_LIMIT")
                assert "0.3 s" in outcome.sentence
    sources.close()


async def test_an_endpoint_embeds_and_one_that_is_away_costs_no_document(bench: Bench) -> None:
    with embedding_server.serve() as server:
        chosen = settings.load({}, embedding=f"openai:{server.url}", embedding_model="m", embedding_dimensions=embedding_server.DIMENSIONS)
        async with open_embedder(chosen) as endpoint, replaced(bench, model=chosen.choose_embedding(), endpoint=endpoint) as own:
            assert isinstance(await own.train("far.txt", b"Embedded elsewhere."), Done)
            server.faults.append(embedding_server.Fault(429, {"Retry-After": "77"}))
            away = await own.train("later.txt", b"Not now.")
    document = await bench.document("far.txt")
    assert document is not None
    assert document["model"] == "openai-m-12"
    assert [row["embedding"].count(",") for row in await bench.rows("far.txt")] == [11]
    assert isinstance(away, Failure)
    assert (away.error_class, away.code, away.retry_after_seconds) == (ErrorClass.TRANSIENT, "UNAVAILABLE", 77)
