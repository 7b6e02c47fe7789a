"""What a parsing child runs for one document: the stages ``read`` and ``chunk``.

The first call begins; a call ends after a second, after ``CHUNKS_A_CALL`` chunks or with the document, and until that has
ended the next calls to the same child go on. So neither a reply nor the time of a call grows with the document, and small
documents take one call. A call ends before each part of a document, too: whoever calls then knows which a child died of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from doctrain_worker.pipeline.child.facts import Facts
from doctrain_worker.pipeline.child.source import Allowance, Source, Timeline
from doctrain_worker.pipeline.methods import CHUNK_VARIABLE, READ_VARIABLE
from doctrain_worker.pipeline.processor import StageTiming
from doctrain_worker.pipeline.wire import (
    CHUNKS_A_CALL,
    BegunPart,
    Chunk,
    Parsed,
    ParseTask,
    Progress,
    ReadLimits,
    ReadSlice,
    Slice,
    UnreadPart,
)
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.sandbox.child.server import load

CALL_SECONDS = 1.0

_Read = Callable[[Source], Iterable[Slice | BegunPart | UnreadPart]]
_Chunk = Callable[[Iterable[Slice]], Iterable[Chunk]]


class _Slices:
    """The slices of a document in the form in which they take least memory, each taken apart when it is asked for."""

    def __init__(self) -> None:
        self._values: list[bytes] = []

    def add(self, found: Slice) -> bytes:
        """One more; answers its value."""
        self._values.append(msgspec.msgpack.encode(found))
        return self._values[-1]

    def __iter__(self) -> Iterator[Slice]:
        return (msgspec.msgpack.decode(value, type=Slice) for value in self._values)


class _Document:
    """The document that is being read, then cut."""

    def __init__(self, task: ParseTask, read: _Read, chunk: _Chunk) -> None:
        self._task = task
        self._chunk = chunk
        self._timeline = Timeline()
        self._kept = {(one.part, one.first_page, one.last_page): one.value for one in task.kept}
        allowance = Allowance(task.limits.bytes)
        self._reading = iter(
            read(
                Source(
                    task.content,
                    task.media_type,
                    task.name,
                    task.limits,
                    kept=self._kept,
                    unread={one.part: one for one in task.unread},
                    timeline=self._timeline,
                    allowance=allowance,
                )
            )
        )
        self._slices = _Slices()
        self._facts = Facts()
        self._chunks: Iterator[Chunk] | None = None
        self._part = ""
        self._pauses = False

    def go_on(self) -> Progress:
        """What can be done in one call. Raises Refusal."""
        progress = Progress([], [], None)
        until = time.perf_counter() + CALL_SECONDS
        self._pauses = False
        while self._chunks is None and not self._pauses and time.perf_counter() < until:
            self._read(progress)
        progress.part = self._part
        if self._chunks is not None and not self._pauses and self._cut(self._chunks, progress, until):
            progress.parsed = Parsed(self._facts.media_type, self._stages())
        else:
            progress.under_way = self._stages()
        return progress

    def _stages(self) -> list[StageTiming]:
        return self._facts.timings(self._timeline, len(self._task.content))

    def _read(self, progress: Progress) -> None:
        """The next slice, if there is one, or else the beginning of the chunks."""
        with self._timeline.stage("extract"):
            found = next(self._reading, None)
        if found is None:
            self._facts.check()
            self._chunks = iter(self._chunk(self._slices))
            self._goes_on_with("")
        elif isinstance(found, BegunPart):
            self._goes_on_with(found.part)
        elif isinstance(found, UnreadPart):
            self._facts.unread.append(found)
        else:
            kept = (found.part, found.first_page, found.last_page) in self._kept
            self._facts.add(found, kept=kept)
            value = self._slices.add(found)
            if found.recognised and not kept:
                progress.slices.append(ReadSlice(found.part, found.first_page, found.last_page, value))

    def _goes_on_with(self, part: str) -> None:
        self._pauses = part != self._part
        self._part = part

    def _cut(self, chunks: Iterator[Chunk], progress: Progress, until: float) -> bool:
        """More chunks; whether they were the last. Raises Refusal TOO_LARGE."""
        with self._timeline.stage("chunk"):
            for found in islice(chunks, CHUNKS_A_CALL):
                progress.chunks.append(found)
                if time.perf_counter() > until:
                    break
            else:
                return self._counted(progress) < CHUNKS_A_CALL
        self._counted(progress)
        return False

    def _counted(self, progress: Progress) -> int:
        self._facts.chunks += len(progress.chunks)
        most = self._task.limits.chunks
        if self._facts.chunks > most:
            raise Refusal(
                "TOO_LARGE",
                f"The document's text, {self._facts.characters:,} characters, makes more than {most:,} chunks, the limit here; "
                "split it into smaller documents.",
                resource=True,
            )
        return len(progress.chunks)


_document: _Document | None = None


@cache
def _stages() -> tuple[_Read, _Chunk]:
    return load(os.environ[READ_VARIABLE]), load(os.environ[CHUNK_VARIABLE])


def prepare() -> None:
    """Imports what the stages need and runs them once, so that the first document does not wait for it."""
    limits = ReadLimits(chunks=10, pages=1, bytes=0, languages="", archives=False)
    _Document(ParseTask(b"# A heading\n\nA sentence.\n", "text/markdown", "warm.md", limits), *_stages()).go_on()


def parse(task: Any) -> Progress:
    """Begins a ``ParseTask``, or goes on with the last one when there is none."""
    global _document  # noqa: PLW0603 - one call at a time, and a child that serves one document after the other
    if task is not None:
        _document = _Document(msgspec.convert(task, ParseTask), *_stages())
    document, _document = _document, None
    if document is None:
        raise ValueError("There is no document to go on with.")
    progress = document.go_on()
    if progress.parsed is None:
        _document = document
    return progress
