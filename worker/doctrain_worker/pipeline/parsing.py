"""The stages ``read`` and ``chunk`` as the worker sees them: calls to one child, until it has given all chunks."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec

from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.processor import ErrorClass, Failure, StageTiming
from doctrain_worker.pipeline.wire import ChunkBatch, Parsed
from doctrain_worker.sandbox import results
from doctrain_worker.sandbox.pool import Calls, ChildPool

T = TypeVar("T")

CHUNKS_A_BATCH = 32


class Parsing:
    """Reads documents.

    Args:
        parsers: children that read and chunk.
        limits: what a document may take of them.
    """

    def __init__(self, parsers: ChildPool, limits: Limits) -> None:
        self._parsers = parsers
        self._limits = limits

    async def parse(self, content: bytes, passage: Passage, store: ChunkStore) -> Parsed:
        """Adds the document's chunks. Raises DocumentFailedError, ChildStartError, FencedError."""
        document = passage.document
        name = document.uri.rpartition("/")[2]
        task = {
            "content": content,
            "media_type": document.media_type,
            "name": document.document_id if "." not in name else name,
            "most_chunks": self._limits.max_document_chunks,
        }
        async with self._parsers.calls() as calls:
            parsed = await self._call(calls, task, Parsed, passage)
            passage.stages.append(parsed.read)
            started, seconds, batch = time.time(), 0.0, parsed.first
            while True:
                seconds += batch.seconds
                for start in range(0, len(batch.chunks), CHUNKS_A_BATCH):
                    store.add(batch.chunks[start : start + CHUNKS_A_BATCH])
                if not batch.more:
                    break
                batch = await self._call(calls, None, ChunkBatch, passage)
        passage.stages.append(StageTiming("chunk", started - parsed.first.seconds, seconds, {"chunks": len(store)}))
        return parsed

    async def _call(self, calls: Calls, task: dict[str, Any] | None, kind: type[T], passage: Passage) -> T:
        result = await calls.run(task, self._limits.call_seconds, passage.shard.traceparent)
        passage.note(result)
        if not isinstance(result, results.Result):
            raise DocumentFailedError(failures.of_call(result, "reading"))
        try:
            return msgspec.convert(result.value, kind)
        except msgspec.ValidationError as error:
            nonsense = Failure(
                ErrorClass.CRASH, "CRASHED", "The process that read the document gave no proper answer; save it again, or leave it out."
            )
            raise DocumentFailedError(nonsense) from error
