"""What a parsing child runs for one document: the stages ``read`` and ``chunk``.

The first call reads and answers the first chunks; as long as there are more, the next calls to the same child answer those.
So neither a reply nor the time of a call grows with the document, and small documents take one call.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from doctrain_worker.pipeline.child.stages import CHUNK_VARIABLE, READ_VARIABLE
from doctrain_worker.pipeline.processor import StageTiming
from doctrain_worker.pipeline.wire import Chunk, ChunkBatch, DocumentText, Parsed
from doctrain_worker.sandbox.child import load
from doctrain_worker.sandbox.refusal import Refusal

CHUNKS_A_CALL = 256


class _Document:
    """The document that is being read: chunks to come."""

    def __init__(self, chunks: Iterator[Chunk], characters: int, most: int) -> None:
        self._chunks = chunks
        self._characters = characters
        self._most = most
        self._count = 0

    def next_batch(self) -> ChunkBatch:
        """The next chunks. Raises Refusal TOO_LARGE."""
        clock = time.perf_counter()
        found = list(islice(self._chunks, CHUNKS_A_CALL))
        self._count += len(found)
        if self._count > self._most:
            raise Refusal(
                "TOO_LARGE",
                f"The document's text, {self._characters:,} characters, makes more than {self._most:,} chunks, the limit here; "
                "split it into smaller documents.",
                resource=True,
            )
        return ChunkBatch(found, len(found) == CHUNKS_A_CALL, time.perf_counter() - clock)


_document = _Document(iter(()), 0, 0)


@cache
def _stages() -> tuple[Callable[[bytes, str, str], DocumentText], Callable[[DocumentText], Iterable[Chunk]]]:
    return load(os.environ[READ_VARIABLE]), load(os.environ[CHUNK_VARIABLE])


def prepare() -> None:
    """Imports what the stages need and runs them once, so that the first document does not wait for it."""
    read, chunk = _stages()
    list(chunk(read(b"# A heading\n\nA sentence.\n", "text/markdown", "warm.md")))


def parse(task: dict[str, Any] | None) -> Parsed | ChunkBatch:
    """Reads one document and answers its first chunks, or answers the next.

    Args:
        task: ``content`` (bytes), ``media_type`` (a claim), ``name`` (the last part of its URI) and ``most_chunks``; None for more.
    """
    global _document  # noqa: PLW0603 - one call at a time, and a child that serves one document after the other
    if task is None:
        return _document.next_batch()
    read, chunk = _stages()
    content = task["content"]
    started, clock = time.time(), time.perf_counter()
    document = read(content, task["media_type"], task["name"])
    facts: dict[str, str | int | float] = {"media_type": document.media_type, "bytes": len(content), "characters": len(document.text)}
    if document.page_starts:
        facts |= {"pages": len(document.page_starts), "pages_without_text": document.pages_without_text}
    timing = StageTiming("read", started, time.perf_counter() - clock, facts)
    _document = _Document(iter(chunk(document)), len(document.text), task["most_chunks"])
    return Parsed(hashlib.sha256(content).digest(), document.media_type, timing, _document.next_batch())
