"""The stages ``read`` and ``chunk`` in real children, shut in as a worker's are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.methods import CHUNK_VARIABLE, PARSE, READ_VARIABLE
from doctrain_worker.pipeline.parsing import Parsing
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import DocumentTask, Failure, ShardContext, StageTiming
from doctrain_worker.pipeline.wire import Chunk, ReadSlice
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec
from testkit.limits import LIMITS

_SHARD = ShardContext(1, "acme", 1, "t", 1, 1, 1, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of a document: its chunks and slices, or its failure, and what ran."""

    media_type: str
    chunks: list[Chunk]
    slices: list[ReadSlice]
    stages: list[StageTiming]
    failure: Failure | None = None

    @property
    def code(self) -> str:
        """``OK``, or that of its failure."""
        return self.failure.code if self.failure is not None else "OK"

    @property
    def text(self) -> str:
        """What its chunks say, in their order."""
        return "\n".join(chunk.text for chunk in self.chunks)

    @property
    def facts(self) -> dict[str, dict[str, str | int | float]]:
        """What is told of each stage."""
        return {stage.name: stage.attributes for stage in self.stages}


class Parsers:
    """Reads one document after the other in the same children."""

    def __init__(self, parsing: Parsing) -> None:
        self._parsing = parsing

    async def read(
        self,
        content: bytes,
        name: str = "x",
        media_type: str = "",
        kept: Sequence[ReadSlice] = (),
        tenant: int = _SHARD.tenant,
        recognised: asyncio.Event | None = None,
    ) -> Outcome:
        """What becomes of a document; ``recognised`` is set when the first of its slices is."""
        shard = msgspec.structs.replace(_SHARD, tenant=tenant)
        passage = Passage(DocumentTask(0, name, f"file:///{name}", media_type), shard)
        slices: list[ReadSlice] = []

        def keep(one: ReadSlice) -> None:
            slices.append(one)
            if recognised is not None:
                recognised.set()

        with ChunkStore() as store:
            try:
                parsed = await self._parsing.parse(content, passage, store, kept=kept, keep=keep)
            except DocumentFailedError as failed:
                return Outcome("", [], [], passage.stages, failed.failure)
            chunks = [chunk for batch in range(store.batches) for chunk in store.chunks(batch)]
            return Outcome(parsed.media_type, chunks, slices, passage.stages)


@asynccontextmanager
async def parsers(limits: Limits = LIMITS) -> AsyncIterator[Parsers]:
    """Children that are ended at exit."""
    spec = ChildSpec(
        PARSE.function,
        prepare=PARSE.prepare,
        memory_bytes=limits.document_memory_bytes,
        reply_bytes=8 << 20,
        environment=((READ_VARIABLE, Stages().read), (CHUNK_VARIABLE, Stages().chunk)),
    )
    async with Guardian.open() as guardian, ChildPool.open(guardian, spec, limits.children, isolation.choose()) as pool:
        yield Parsers(Parsing(pool, limits))
