"""Documents through every stage, in real children, into a real Postgres."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from doctrain_coordinator.store.migrate import migrate
from doctrain_mesh import postgres as database
from doctrain_mesh import settings
from doctrain_mesh.blobs import BlobStore
from doctrain_mesh.embedding.choice import Choice, Kind
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.errors import BlobUnavailableError, StoreUnavailableError
from doctrain_mesh.sources import Sources
from doctrain_mesh.uris import UriRules
from doctrain_worker.core.chunking import embedded_text
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.pipeline import Pipeline, open_pipeline
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, FencedError, NotHeldError, Outcome, ShardContext
from doctrain_worker.sandbox import isolation
from doctrain_worker.sandbox.link import Guardian
from testkit import documents, embedding_server
from testkit.limits import LIMITS, MIB
from testkit.postgres import PostgresServer
from testkit.stages import digest

TESTS = str(Path(__file__).resolve().parents[1])


@dataclass
class Bench:
    """A pipeline, the place it reads from, and the database it writes to."""

    pipeline: Pipeline
    root: Path
    pool: database.Pool
    shard: ShardContext
    stored: str = ""

    async def train(self, name: str, content: bytes, *, shard: ShardContext | None = None, **fields: Any) -> Outcome:
        (self.root / name).write_bytes(content)
        task = DocumentTask(ordinal=0, document_id=fields.pop("document_id", name), uri=f"file://{self.root}/{name}", **fields)
        return await self.pipeline.process(task, shard or self.shard)

    async def rows(self, document_id: str) -> list[database.Record]:
        async with database.acquired(self.pool, "test") as connection:
            return await connection.fetch("select * from chunk where document_id = $1 order by seq", document_id)

    async def document(self, document_id: str) -> database.Record | None:
        async with database.acquired(self.pool, "test") as connection:
            return await connection.fetchrow("select * from indexed_document where document_id = $1", document_id)

    async def nearest(self, query: str) -> str:
        """The document that the query's vector is nearest to."""
        from doctrain_mesh.embedding import minilm

        vector = str(minilm.open_model().embed([query])[0].tolist())
        async with database.acquired(self.pool, "test") as connection:
            found: str = await connection.fetchval("select document_id from chunk order by embedding <=> $1::text::halfvec limit 1", vector)
            return found


async def running_shard(pool: database.Pool, training: int = 1, index_order: int = 0) -> ShardContext:
    """A shard that session 9 runs under number 3."""
    async with database.acquired(pool, "test") as connection:
        shard = await connection.fetchval(
            "insert into shard (training, tenant, shard_number, first, count, open, state, number, holder) "
            "values ($1, 1, 0, 0, 10, 10, 2, 3, 9) returning id",
            training,
        )
    return ShardContext(
        tenant=1,
        tenant_id="acme",
        training=training,
        training_task_id="t",
        index_order=index_order or training,
        shard=shard,
        number=3,
        session=9,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("documents")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(shared_postgres.database())
        await migrate(url)
        pool = await database.create_pool(url, size=4, name="test")
        stack.push_async_callback(pool.close)
        guardian = await stack.enter_async_context(Guardian.open())
        blobs = BlobStore("memory:///")
        sources = Sources(blobs, UriRules(file_root=str(root)))
        stack.callback(sources.close)
        pipeline = await stack.enter_async_context(
            open_pipeline(guardian, sources=sources, database=pool, isolation=isolation.choose(), limits=LIMITS)
        )
        yield Bench(pipeline, root, pool, await running_shard(pool), (await blobs.put("acme", b"hello")).uri)


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("pipeline")]

SENTENCES = {
    "reef.md": "# The reef\n\nCoral polyps build limestone that shelters thousands of kinds of fish.\n",
    "bread.txt": "A sourdough starter is flour and water in which wild yeast and bacteria live.\n",
    "rail.html": "<html><head><title>Rails</title></head><body><nav>Home About</nav><article><h1>Rails</h1><p>The gauge of a railway is "
    "the distance between the inner sides of its two rails; trains of one gauge cannot run on another.</p></article></body></html>",
}


async def test_each_kind_of_document_is_found_by_what_it_means(bench: Bench) -> None:
    for name, text in SENTENCES.items():
        assert isinstance(await bench.train(name, text.encode()), Done)
    assert isinstance(
        await bench.train("comet.pdf", documents.pdf([["A comet is a body of ice and dust", "that grows a tail near the sun."]])), Done
    )
    assert await bench.nearest("fish that live around corals") == "reef.md"
    assert await bench.nearest("yeast for baking") == "bread.txt"
    assert await bench.nearest("width of train tracks") == "rail.html"
    assert await bench.nearest("icy objects in the solar system") == "comet.pdf"


async def test_rows_say_where_in_the_document_a_chunk_stands(bench: Bench) -> None:
    lines = [[f"Page {page} tells of item {page} number {line} in its long list of things." for line in range(30)] for page in (1, 2, 3)]
    before = time.time()
    outcome = await bench.train("pages.pdf", documents.pdf(lines), metadata='{"author": "Ann"}')
    rows = await bench.rows("pages.pdf")
    assert isinstance(outcome, Done)
    assert outcome.chunks == len(rows) > 5
    assert [stage.name for stage in outcome.stages] == ["fetch", "detect", "extract", "chunk", "embed", "index"]
    starts = [stage.start for stage in outcome.stages]
    assert starts == sorted(starts)
    assert before <= starts[0] <= starts[-1] <= time.time()
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert {row["page"] for row in rows} == {1, 2, 3}
    assert all(f"Page {row['page']} " in row["text"] for row in rows)
    document = await bench.document("pages.pdf")
    assert document is not None
    assert (document["media_type"], document["chunk_count"], document["training"]) == ("application/pdf", len(rows), 1)
    assert json.loads(document["metadata"]) == {"author": "Ann"}


async def test_an_unchanged_document_is_not_read_again(bench: Bench) -> None:
    first, second, third = [await running_shard(bench.pool, training) for training in (21, 22, 23)]
    text = b"# Tides\n\nThe moon pulls the sea.\n"
    assert not (await trained(bench, "tides.md", text, first)).unchanged
    at_once = await trained(bench, "tides.md", text, first)
    assert ([stage.name for stage in at_once.stages], at_once.unchanged) == (["fetch"], False), "its own training has read it"
    again = await bench.train("tides.md", text, shard=second, metadata='{"year": "2026"}')
    assert isinstance(again, Done)
    assert ([stage.name for stage in again.stages], again.unchanged, again.chunks) == (["fetch"], True, 1)
    document = await bench.document("tides.md")
    assert document is not None
    assert (document["training"], json.loads(document["metadata"])) == (22, {"year": "2026"})
    assert not (await trained(bench, "tides.md", text, first)).unchanged, "an older training does not take it back"
    document = await bench.document("tides.md")
    assert document is not None
    assert document["training"] == 22
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", second)).unchanged
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", msgspec.structs.replace(third, retrain=True))).unchanged
    claimed = await bench.train("tides.md", text + b"Twice a day.\n", shard=third, media_type="text/plain")
    assert isinstance(claimed, Done)
    assert not claimed.unchanged, "what it is said to be counts too"
    other = msgspec.structs.replace(third, tenant=2, tenant_id="globex")
    assert not (await trained(bench, "tides.md", text + b"Twice a day.\n", other)).unchanged
    with pytest.raises(NotHeldError):
        await bench.train("tides.md", text + b"Twice a day.\n", shard=msgspec.structs.replace(third, number=99), media_type="text/plain")


async def test_a_retry_stands_in_the_order_of_the_training_that_it_retries(bench: Bench) -> None:
    """An attack: what failed in training 11 is retried, as training 13, beside training 12 of the same document."""
    second, retry, retried_again = [await running_shard(bench.pool, t, order) for t, order in ((12, 12), (13, 11), (14, 11))]
    assert not (await trained(bench, "price.md", b"The old price.\n", retry)).superseded
    assert not (await trained(bench, "price.md", b"The old price, read again.\n", retried_again)).superseded
    assert (await trained(bench, "price.md", b"The old price.\n", retry)).superseded
    assert not (await trained(bench, "price.md", b"The new price.\n", second)).superseded
    for late in (retry, retried_again):
        assert (await trained(bench, "price.md", b"The old price.\n", late)).superseded
    assert [row["text"] for row in await bench.rows("price.md")] == ["The new price."]
    document = await bench.document("price.md")
    assert document is not None
    assert (document["training"], document["index_order"]) == (12, 12)


async def trained(bench: Bench, name: str, content: bytes, shard: ShardContext) -> Done:
    done = await bench.train(name, content, shard=shard)
    assert isinstance(done, Done)
    return done


async def test_training_again_replaces_and_the_newer_training_wins(bench: Bench) -> None:
    newer = await running_shard(bench.pool, training=2)
    long = "\n\n".join(f"# Part {n}\n\n" + f"Sentence {n} of the long one. " * 40 for n in range(4))
    assert isinstance(await bench.train("again.md", long.encode()), Done)
    assert len(await bench.rows("again.md")) >= 4
    assert isinstance(await bench.train("again.md", b"Short now.\n", shard=newer), Done)
    assert [row["text"] for row in await bench.rows("again.md")] == ["Short now."]
    late = await bench.train("again.md", long.encode())
    assert isinstance(late, Done)
    assert late.superseded
    assert [(row["text"], row["training"]) for row in await bench.rows("again.md")] == [("Short now.", 2)]


async def test_nothing_is_written_for_a_shard_that_is_no_longer_held(bench: Bench) -> None:
    for changed in ({"number": 4}, {"session": 8}, {"shard": bench.shard.shard + 1000}):
        with pytest.raises(FencedError):
            await bench.train("lost.md", b"Never written.\n", shard=msgspec.structs.replace(bench.shard, **changed))
    assert await bench.document("lost.md") is None
    assert await bench.rows("lost.md") == []


BROKEN = {
    "empty.pdf": (b"", "EMPTY", ErrorClass.PERMANENT),
    "blank.txt": (b" \n\t\n", "EMPTY", ErrorClass.PERMANENT),
    "cut.pdf": (documents.pdf([["Whole once."]])[:200], "CORRUPT", ErrorClass.PERMANENT),
    "locked.pdf": (documents.encrypted_pdf(), "ENCRYPTED", ErrorClass.PERMANENT),
    "program.pdf": (b"\x7fELF\x02\x01\x01" + bytes(200), "WRONG_TYPE", ErrorClass.PERMANENT),
    "noise.txt": (bytes(range(256)) * 4, "WRONG_TYPE", ErrorClass.PERMANENT),
    "large.txt": (b"a word " * (6 * MIB), "TOO_LARGE", ErrorClass.RESOURCE),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_fails_with_a_reason(bench: Bench, name: str) -> None:
    content, code, error_class = BROKEN[name]
    outcome = await bench.train(name, content, media_type="application/pdf" if name.endswith("pdf") else "")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.error_class) == (code, error_class)
    assert outcome.sentence.endswith(".")
    assert await bench.document(name) is None


async def test_places_that_may_not_be_read_or_are_not_there_fail(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (bench.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    for uri, code in (
        (f"file://{bench.root}/missing.txt", "NOT_FOUND"),
        (f"file://{bench.root}/link.txt", "FORBIDDEN"),
        (f"file://{bench.root}/../x", "INVALID_URI"),
        (f"file://{bench.root}", "INVALID_URI"),
        ("https://localhost/x", "INVALID_URI"),
        ("blob://" + "0" * 64, "NOT_FOUND"),
        (f"{bench.stored}/100/5", "INVALID_RANGE"),
    ):
        outcome = await bench.pipeline.process(DocumentTask(0, "x", uri), bench.shard)
        assert isinstance(outcome, Failure), uri
        assert (outcome.error_class, outcome.code) == (ErrorClass.PERMANENT, code), uri


async def test_many_at_once_are_kept_apart(bench: Bench) -> None:
    names = [f"many-{n}.txt" for n in range(40)]
    outcomes = await asyncio.gather(*(bench.train(name, f"This is the document {name}.".encode()) for name in names))
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    for name in names:
        assert [row["text"] for row in await bench.rows(name)] == [f"This is the document {name}."]


async def test_large_documents_are_read_too(bench: Bench) -> None:
    outcome = await bench.train("spacious.txt", b"The only words." + b" " * (36 * MIB))
    assert isinstance(outcome, Done)
    assert [stage.name for stage in outcome.stages] == ["fetch", "detect", "extract", "chunk", "embed", "index"]
    assert [row["text"] for row in await bench.rows("spacious.txt")] == ["The only words."]


def changed(bench: Bench, **parts: Any) -> Bench:
    """The bench with stages of its worker's own process replaced."""
    return replace(bench, pipeline=replace(bench.pipeline, **parts))


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
    assert [stage.name for stage in outcome.stages] == ["fetch", "detect", "extract", "chunk", "embed", "index"]
    assert [row["text"] for row in await bench.rows("patient.txt")] == ["Words."]


DIGESTS = Choice(Kind.FUNCTION, "testkit.stages:Digests")


@asynccontextmanager
async def replaced(bench: Bench, limits: Limits = LIMITS, **parts: Any) -> AsyncIterator[Bench]:
    """A pipeline with some parts of the tests' own, and other limits."""
    sources = Sources(BlobStore("memory:///"), UriRules(file_root=str(bench.root)))
    async with (
        Guardian.open() as guardian,
        open_pipeline(
            guardian, sources=sources, database=bench.pool, isolation=isolation.choose("rlimit"), limits=limits, **parts
        ) as pipeline,
    ):
        yield Bench(pipeline, bench.root, bench.pool, bench.shard)
    sources.close()


async def test_a_stage_can_be_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    async with replaced(bench, stages=Stages(read="testkit.stages:shout")) as own:
        assert isinstance(await own.train("quiet.txt", b"Not so loud."), Done)
    assert [row["text"] for row in await bench.rows("quiet.txt")] == ["NOT SO LOUD."]


async def test_a_document_of_many_chunks_is_indexed_whole_and_in_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    text = "\n\n".join(f"# Part {n}\n\n" + f"Sentence {n} of a long text. " * 25 for n in range(3000))
    async with replaced(bench, replace(LIMITS, children=2), model=DIGESTS) as own:
        for _ in range(2):
            outcome = await own.train("long.md", text.encode())
            assert isinstance(outcome, Done), outcome
            assert [stage.name for stage in outcome.stages] == ["fetch", "detect", "extract", "chunk", "embed", "index"]
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
    assert {(outcome.error_class, outcome.code) for outcome in outcomes if isinstance(outcome, Failure)} == {(ErrorClass.TRANSIENT, "BUSY")}


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
