"""Stages of the pipeline as a user might bring them."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from doctrain_worker.pipeline.child import read as ours
from doctrain_worker.pipeline.child.parse import CALL_SECONDS
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.pipeline.wire import BegunPart, Chunk, Slice, UnreadPart
from doctrain_worker.text import markdown

DIMENSIONS = 384


def shout(source: Source) -> list[Slice]:
    """A stage ``read`` that makes everything loud."""
    return [Slice("", source.claimed or source.name, list(markdown.blocks(source.content.decode().upper())))]


def stumble(source: Source) -> Iterator[Slice | BegunPart | UnreadPart]:
    """A stage ``read`` that dies after the first slice of a document of which nothing is kept, in the call after that which gave it."""
    slices = ours.read(source)
    found = next(slices)
    time.sleep(CALL_SECONDS)
    yield found
    if isinstance(found, Slice) and found.last_page and not source.kept:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield from slices


def explode(source: Source) -> Iterator[Slice | BegunPart | UnreadPart]:
    """A stage ``read`` that dies of parts by their names: ``crash``, ``hang`` and ``eat``."""
    for found in ours.read(source):
        yield found
        part = found.part if isinstance(found, BegunPart) else ""
        if "crash" in part:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hang" in part:
            time.sleep(3600)
        if "eat" in part:
            bytearray(1 << 40)


def by_slice(slices: Iterable[Slice]) -> Iterator[Chunk]:
    """A stage ``chunk`` that makes one chunk of each slice."""
    for found in slices:
        text = "\n".join(block.text for block in found.blocks)
        yield Chunk(found.blocks[0].start, found.blocks[0].start + len(text), found.first_page, "", text, found.part)


class Digests:
    """A model whose vectors say which text they are of, in no time, unless the text asks for some."""

    name = "digests"
    dimensions = DIMENSIONS
    max_tokens = 256

    def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        time.sleep(0.02 * sum("slowly" in text for text in texts))
        return np.array([digest(text) for text in texts], dtype=np.float32).reshape(-1, DIMENSIONS)


def digest(text: str) -> list[float]:
    """The vector of a text: numbers that a half float holds exactly."""
    return [float(byte) for byte in hashlib.shake_128(text.encode()).digest(DIMENSIONS)]
