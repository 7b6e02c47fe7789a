"""The stages ``read`` and ``chunk`` as the worker sees them: calls to one child, until it has read and cut all of a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.msgpack import Decoder

from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.wire import Parsed, ParseTask, Progress, ReadSlice
from doctrain_worker.sandbox.ends import NO_ANSWER, Result
from doctrain_worker.sandbox.pool import Calls, ChildPool

CHUNKS_A_BATCH = 32

_PROGRESS = Decoder(Progress)


class Parsing:
    """Reads documents.

    Args:
        parsers: children that read and chunk.
        limits: what a document may take of them.
    """

    def __init__(self, parsers: ChildPool, limits: Limits) -> None:
        self._parsers = parsers
        self._limits = limits

    async def parse(
        self, content: bytes, passage: Passage, store: ChunkStore, *, kept: Sequence[ReadSlice], keep: Callable[[ReadSlice], None]
    ) -> Parsed:
        """Adds the document's chunks, and hands slices that took long to read to ``keep``; they may come as ``kept`` the next time.

        Raises DocumentFailedError, ChildStartError, FencedError.
        """
        document = passage.document
        name = document.uri.rpartition("/")[2]
        task = ParseTask(content, document.media_type, document.document_id if "." not in name else name, self._limits.reading, list(kept))
        kept_bytes = 0
        async with self._parsers.calls() as calls:
            progress = await self._call(calls, task, passage)
            while True:
                for one in progress.slices:
                    keep(one)
                    kept_bytes += len(one.value)
                if len(store) > self._limits.max_document_chunks or kept_bytes > self._limits.max_document_bytes:
                    raise DocumentFailedError(failures.of_call(NO_ANSWER, "reading"))
                for start in range(0, len(progress.chunks), CHUNKS_A_BATCH):
                    store.add(progress.chunks[start : start + CHUNKS_A_BATCH])
                if progress.parsed is not None:
                    passage.stages += progress.parsed.stages
                    return progress.parsed
                passage.tell(progress.under_way)
                progress = await self._call(calls, None, passage)

    async def _call(self, calls: Calls, task: ParseTask | None, passage: Passage) -> Progress:
        end = await calls.run(task, self._limits.call_seconds, _PROGRESS, passage.shard.traceparent)
        passage.note(end)
        if isinstance(end, Result):
            return end.value
        raise DocumentFailedError(failures.of_call(end, "reading"))
