"""What a parsing child runs for one document: the stages ``read`` and ``chunk``."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from doctrain_worker.pipeline.child_stages import CHUNK_VARIABLE, READ_VARIABLE
from doctrain_worker.pipeline.readable import Chunk, Parsed, Readable, StageSpan
from doctrain_worker.sandbox.child import load


@cache
def _stages() -> tuple[Callable[[bytes, str, str], Readable], Callable[[Readable], Iterable[Chunk]]]:
    return load(os.environ[READ_VARIABLE]), load(os.environ[CHUNK_VARIABLE])


def prepare() -> None:
    """Imports what the stages need and runs them once, so that the first document does not wait for it."""
    read, chunk = _stages()
    list(chunk(read(b"# A heading\n\nA sentence.\n", "text/markdown", "warm.md")))


def parse(task: dict[str, Any]) -> Parsed:
    """Reads and chunks one document.

    Args:
        task: ``content`` (bytes), ``media_type`` (a claim) and ``name`` (the last part of its URI).
    """
    read, chunk = _stages()
    content = task["content"]
    spans = []
    started, clock = time.time(), time.perf_counter()
    readable = read(content, task["media_type"], task["name"])
    seconds = time.perf_counter() - clock
    facts: dict[str, str | int | float] = {"media_type": readable.media_type, "bytes": len(content), "characters": len(readable.text)}
    if readable.page_starts:
        facts |= {"pages": len(readable.page_starts), "pages_without_text": readable.pages_without_text}
    spans.append(StageSpan("read", started, seconds, facts))
    started, clock = time.time(), time.perf_counter()
    chunks = list(chunk(readable))
    spans.append(StageSpan("chunk", started, time.perf_counter() - clock, {"chunks": len(chunks)}))
    return Parsed(hashlib.sha256(content).digest(), readable.media_type, chunks, spans)
