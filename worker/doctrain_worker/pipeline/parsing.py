"""The stages ``read`` and ``chunk`` as the worker sees them: calls to one child, until it has read and cut all of a document.

When a child dies of a part of a document, such as a mail's attachment, the document is read again without that part.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.kept.budget import MOST_BYTES
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.methods import PARSE
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.processor import Failure
from doctrain_worker.pipeline.wire import Parsed, ParseTask, Progress, ReadSlice, UnreadPart
from doctrain_worker.sandbox.main.pool import Calls, ChildPool, PutBackError
from doctrain_worker.sandbox.shared.ends import NO_ANSWER, Raised, Refused, Result, TimedOut

CHUNKS_A_BATCH = 32
DEATHS_OF_A_PART = 2
MOST_DEATHS = 6
"""Of children, by one document's parts."""
MOST_OVERDUE = 2
"""Calls of one reading and those after it that met the time limit, all parts together."""

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
            except _ChildDiedError as failed:
                log.warning("A child died of document %d of training %s (%s).", *passage.named, failed.failure.code)
                if not blamed.add(failed):
                    raise DocumentFailedError(blamed.verdict(failed)) from failed

    async def _read(self, calls: Calls, task: ParseTask, passage: Passage, store: ChunkStore, keep: Callable[[ReadSlice], None]) -> Parsed:
        """Reads all.

        Raises _ChildDiedError, with the part while the store is empty; then the task's ``kept`` has what need not be read again.
        """
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
        if isinstance(end, Refused | Raised):
            raise DocumentFailedError(failure)
        raise _ChildDiedError(part, failure, overdue=isinstance(end, TimedOut))


class Blamed:
    """The parts of one document that children died of.

    Once may be another document's doing, that the child read before; a part of which two died is not read. Nor is one that
    met the time limit, which costs the most and is hardly a neighbour's doing.
    """

    def __init__(self) -> None:
        self.unread: list[UnreadPart] = []
        self._deaths: Counter[str] = Counter()
        self._overdue = 0

    def add(self, died: _ChildDiedError) -> bool:
        """Counts a child that died; whether the document is worth another reading now."""
        self._overdue += died.overdue
        if not died.part:
            return False
        self._deaths[died.part] += 1
        if died.overdue or self._deaths[died.part] >= DEATHS_OF_A_PART:
            self.unread.append(UnreadPart(died.part, died.failure.code, died.failure.sentence))
        return self._deaths.total() <= MOST_DEATHS and self._overdue < MOST_OVERDUE

    def verdict(self, died: _ChildDiedError) -> Failure:
        """Why the document fails, whose last reading this was: for good where it met the time limit again."""
        return replace(died.failure, final=True) if died.overdue and self._overdue >= MOST_OVERDUE else died.failure


class _ChildDiedError(Exception):
    """``part``: the one that it was reading; empty where that is not known."""

    def __init__(self, part: str, failure: Failure, *, overdue: bool) -> None:
        super().__init__(failure.sentence)
        self.part, self.failure, self.overdue = part, failure, overdue
