"""One process of the plain loop that ``benchmarks.pipeline`` compares with: reads, cuts, embeds and indexes one document after the other.

    python -m benchmarks.plain_loop DATABASE_URL TENANT SESSION SHARD

The numbers are keys in Postgres: of a tenant, of the session that holds the shard, and of the shard. Prints a line when the models are
loaded and after each document; a line of its input names the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool
from doctrain_worker.pipeline import methods
from doctrain_worker.pipeline.child import embed, parse
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.index import IndexedDocument, index
from doctrain_worker.pipeline.parsing import CHUNKS_A_BATCH
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, ShardContext
from doctrain_worker.pipeline.wire import ParseTask, Progress, ReadLimits
from doctrain_worker.text.chunking import embedded_text

LIMITS = ReadLimits(chunks=60_000, pages=5_000, bytes=2**29, languages="eng", archives=False)


def read(content: bytes, name: str, store: ChunkStore) -> Progress:
    """Reads and cuts a document; its last progress."""
    task: ParseTask | None = ParseTask(content, "", name, LIMITS)
    while True:
        progress = parse.parse(task)
        for start in range(0, len(progress.chunks), CHUNKS_A_BATCH):
            store.add(progress.chunks[start : start + CHUNKS_A_BATCH])
        if progress.parsed is not None:
            return progress
        task = None


async def train(pool: Pool, shard: ShardContext, ordinal: int, file: Path) -> None:
    """One document."""
    with ChunkStore() as store:
        content = await asyncio.to_thread(file.read_bytes)
        parsed = read(content, file.name, store).parsed
        assert parsed is not None
        model = ""
        for batch in range(store.batches):
            model, vectors = embed.embed([embedded_text(chunk.heading, chunk.text) for chunk in store.chunks(batch)])
            store.set_vectors(batch, vectors)
        document = DocumentTask(ordinal, f"{ordinal}/{file.name}", file.as_uri())
        await index(pool, shard, document, IndexedDocument(hashlib.sha256(content).digest(), parsed.media_type, model, store))


async def main(url: str, tenant: int, session: int, shard_key: int) -> None:
    """Trains the documents that it is told of."""
    shard = ShardContext(
        tenant=tenant,
        tenant_id="loop",
        training=session,
        training_task_id="loop",
        index_order=1,
        shard=shard_key,
        number=1,
        session=session,
    )
    ours = Stages()
    os.environ |= {methods.READ_VARIABLE: ours.read, methods.CHUNK_VARIABLE: ours.chunk, methods.MODEL_VARIABLE: "minilm"}
    parse.prepare()
    embed.prepare()
    pool = await postgres.create_pool(url, size=1, name="plain loop")
    print("ready", flush=True)
    for ordinal, file in enumerate(sys.stdin):
        await train(pool, shard, ordinal, Path(file.rstrip("\n")))
        print("done", flush=True)
    await postgres.close_pool(pool)


if __name__ == "__main__":
    database_url, *keys = sys.argv[1:]
    asyncio.run(main(database_url, *map(int, keys)))
