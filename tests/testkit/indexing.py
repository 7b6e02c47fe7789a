"""A worker without children: it reads documents of plain text, embeds them in this process, and indexes them as every worker does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import doctrain
from doctrain.v1 import training_pb2
from doctrain_mesh import postgres
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.embedding import minilm
from doctrain_mesh.embedding.onnx_model import OnnxModel
from doctrain_mesh.errors import DoctrainError
from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.index import IndexedDocument, index
from doctrain_worker.pipeline.processor import DocumentTask, Done, Outcome, ShardContext, StageTiming
from doctrain_worker.pipeline.wire import Chunk
from doctrain_worker.text.chunking import embedded_text
from testkit.coordinator import Coordinators
from testkit.worker import worker


@cache
def model_of_tests() -> OnnxModel:
    """The model, loaded once a process; for one thread at a time."""
    return minilm.open_model()


@dataclass
class Indexer:
    """A processor. A document is passages with an empty line between; a line ``# Heading`` and one ``page 3`` may come before.

    ``model`` is the name that is written with the vectors. Documents wait at ``gates`` of their id before they are indexed,
    and tell their ``stages`` there, which are also what is told of them when they have ended.
    """

    pool: postgres.Pool
    blobs: BlobStore
    model: str = minilm.NAME
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    stages: dict[str, list[StageTiming]] = field(default_factory=dict)
    at_gate: set[str] = field(default_factory=set)

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        try:
            content = await self.blobs.get(shard.tenant_id, document.uri, 1 << 20)
        except DoctrainError as error:
            return failures.of_error(error)
        chunks = list(passages(content.decode()))
        vectors = await asyncio.to_thread(_vectors, chunks)
        if gate := self.gates.get(document.document_id):
            self.at_gate.add(document.document_id)
            shard.tell(document.ordinal, self.stages.get(document.document_id, ()))
            await gate.wait()
        with ChunkStore() as store:
            if chunks:
                store.add(chunks)
                store.set_vectors(0, vectors)
            media_type = document.media_type or "text/plain"
            written = await index(
                self.pool, shard, document, IndexedDocument(hashlib.sha256(content).digest(), media_type, self.model, store)
            )
        return Done(chunks=len(chunks), superseded=not written, stages=tuple(self.stages.get(document.document_id, ())))


def passages(text: str) -> list[Chunk]:
    """The chunks of a document."""
    found, at, page, heading = [], 0, 0, ""
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("# "):
            heading = lines[0][2:]
        elif lines[0].startswith("page "):
            page = int(lines[0][5:])
        else:
            found.append(Chunk(at, at + len(block), page, heading, block))
        at += len(block) + 2
    return found


def _vectors(chunks: list[Chunk]) -> bytes:
    return model_of_tests().embed([embedded_text(chunk.heading, chunk.text) for chunk in chunks]).astype(">f2").tobytes()


@asynccontextmanager
async def indexing(served: Coordinators, **chosen: Any) -> AsyncIterator[Indexer]:
    """A worker of these coordinators; ``chosen`` are arguments of ``worker``."""
    pool = await postgres.create_pool(served.settings.database_url, size=4, name="doctrain worker")
    try:
        indexer = Indexer(pool, BlobStore(served.settings.blob_url))
        addresses = [one.address for one in served.running]
        async with worker(served.broker, indexer, *addresses, worker_key=await served.key(2), **chosen):
            yield indexer
    finally:
        await postgres.close_pool(pool)


async def train(client: doctrain.AsyncClient, documents: dict[str, str], **fields: object) -> training_pb2.Training:
    """Trains texts by their ids to the end; ``fields`` are those of each document."""
    inputs = [training_pb2.DocumentInput(document_id=name, content=text.encode(), **fields) for name, text in documents.items()]  # type: ignore[arg-type]
    started = await client.start_training(inputs)
    return await client.wait(started.training.training_task_id)
