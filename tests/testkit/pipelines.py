"""A pipeline with real children and a real Postgres, for tests of its stages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doctrain_mesh import postgres as database
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.stages import STAGES, WAIT
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.pipeline import Pipeline, open_pipeline
from doctrain_worker.pipeline.processor import DocumentTask, Done, Outcome, ShardContext
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from testkit.limits import LIMITS
from testkit.postgres import PostgresServer

TESTS = str(Path(__file__).resolve().parents[1])
STAGES_OF_TEXT = [name for name in STAGES if name != "ocr"]


def worked(outcome: Done) -> list[str]:
    """The stages that a document passed, without its time in line for a child, which a busy machine may add."""
    return [stage.name for stage in outcome.stages if stage.name != WAIT]


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


def changed(bench: Bench, **parts: Any) -> Bench:
    """The bench with stages of its worker's own process replaced."""
    return replace(bench, pipeline=replace(bench.pipeline, **parts))


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


@asynccontextmanager
async def open_bench(server: PostgresServer, root: Path) -> AsyncIterator[Bench]:
    """A bench with a database of its own, and every stage as it is."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.database())
        pool = await database.create_pool(url, size=4, name="test")
        stack.push_async_callback(pool.close)
        async with database.acquired(pool, "test") as connection:
            await connection.execute("insert into tenant (name, plan) values ('acme', 'free'), ('globex', 'free')")
        guardian = await stack.enter_async_context(Guardian.open())
        blobs = BlobStore("memory:///")
        sources = Sources(blobs, UriRules(file_root=str(root)))
        stack.callback(sources.close)
        pipeline = await stack.enter_async_context(
            open_pipeline(guardian, sources=sources, database=pool, isolation=isolation.choose(), limits=LIMITS)
        )
        yield Bench(pipeline, root, pool, await running_shard(pool), (await blobs.put("acme", b"hello")).uri)
