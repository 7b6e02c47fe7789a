"""The stages ``read`` and ``chunk`` as the worker sees them: calls to one child, until it has read and cut all of a document.

When a child dies of a part of a document, such as a mail's attachment, the document is read again without that part.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.kept.budget import MOST_BYTES
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.methods import PARSE
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.processor import Failure
from doctrain_worker.pipeline.wire import Parsed, ParseTask, Progress, ReadSlice, UnreadPart
from doctrain_worker.sandbox.main.pool import Calls, ChildPool, PutBackError
from doctrain_worker.sandbox.shared.ends import NO_ANSWER, Raised, Refused, Result

CHUNKS_A_BATCH = 32
DEATHS_OF_A_PART = 2
MOST_DEATHS = 6
"""Of children, by one document's parts."""

log = logging.getLogger(__name__)


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
        seen, blamed, again = list(kept), Blamed(), False
        while True:
            task = ParseTask(content, document.media_type, document.file_name, self._limits.reading, seen, blamed.unread)
            try:
                async with AsyncExitStack() as stack:
                    with passage.waiting():
                        calls = await stack.enter_async_context(self._parsers.calls(owner=passage.shard.tenant, again=again))
                    with passage.timed_if_it_fails("extract", but=PutBackError):
                        return await self._read(calls, task, passage, store, keep)
            except PutBackError:
                again = True
                store.clear()
            except _PartFailedError as failed:
                log.warning("A child died of a part of document %d of training %s (%s).", *passage.named, failed.failure.code)
                if not blamed.add(failed.part, failed.failure):
                    raise DocumentFailedError(failed.failure) from failed

    async def _read(self, calls: Calls, task: ParseTask, passage: Passage, store: ChunkStore, keep: Callable[[ReadSlice], None]) -> Parsed:
        """Reads all. Raises _PartFailedError while the store is empty; then the task's ``kept`` has what need not be read again."""
        kept_bytes = 0
        progress = await self._call(calls, task, passage, "")
        while True:
            for one in progress.slices:
                keep(one)
                kept_bytes += len(one.value)
                if kept_bytes <= MOST_BYTES:
                    task.kept.append(one)
            if len(store) > self._limits.max_document_chunks or kept_bytes > self._limits.max_document_bytes:
                raise DocumentFailedError(failures.of_call(NO_ANSWER, "reading"))
            for start in range(0, len(progress.chunks), CHUNKS_A_BATCH):
                store.add(progress.chunks[start : start + CHUNKS_A_BATCH])
            if progress.parsed is not None:
                passage.stages += progress.parsed.stages
                return progress.parsed
            passage.tell(progress.under_way)
            progress = await self._call(calls, None, passage, "" if len(store) else progress.part)

    async def _call(self, calls: Calls, task: ParseTask | None, passage: Passage, part: str) -> Progress:
        end = await calls.run(task, self._limits.call_seconds, PARSE.answer, passage.shard.traceparent)
        passage.note(end)
        if isinstance(end, Result):
            return end.value
        failure = failures.of_call(end, "reading")
        if part and not isinstance(end, Refused | Raised):
            raise _PartFailedError(part, failure)
        raise DocumentFailedError(failure)


class Blamed:
    """The parts of one document that children died of.

    Once may be another document's doing, that the child read before; a part of which two died is not read.
    """

    def __init__(self) -> None:
        self.unread: list[UnreadPart] = []
        self._deaths: Counter[str] = Counter()

    def add(self, part: str, failure: Failure) -> bool:
        """Counts a child that died; whether the document is worth another try."""
        self._deaths[part] += 1
        if self._deaths[part] >= DEATHS_OF_A_PART:
            self.unread.append(UnreadPart(part, failure.code, failure.sentence))
        return self._deaths.total() <= MOST_DEATHS


class _PartFailedError(Exception):
    def __init__(self, part: str, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.part, self.failure = part, failure
