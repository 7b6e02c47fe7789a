"""The pipeline's stages as the chaos runs have them: documents that do what their kind says, and write down that they ran.

The ledger is the first file ``ledger.jsonl`` in a folder of PYTHONPATH: a child's environment holds nothing else of ours. It is
opened at the very start (``start/sitecustomize.py``), for appending, a line a write, so that lines of many processes do not mix
and none is lost with its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.documents import Kind, content_of, kind_of, named_by, seconds_of
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.pipeline.wire import Chunk, Slice
from doctrain_worker.sandbox.child.refusal import Refusal
from doctrain_worker.text import markdown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DIMENSIONS = 384
LEDGER = "ledger.jsonl"
TICK_SECONDS = 0.1
TRANSIENT_FAILURES = 2


async def fetch(tenant_id: str, uri: str, max_bytes: int, make_room: Callable[[int], Awaitable[None]]) -> bytes:
    """The stage ``fetch``, in the worker's main process: transient failures and assassins."""
    from doctrain_mesh.documents.blobs import BlobStore
    from doctrain_mesh.errors import UnavailableError

    if uri.startswith("blob://"):
        return await BlobStore(os.environ["DOCTRAIN_BLOB_URL"]).get(tenant_id, uri, max_bytes, make_room)
    training, number = named_by(uri)
    kind = kind_of(training, number)
    await make_room(len(content_of(training, number)))
    if kind is Kind.ASSASSIN:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind is Kind.TRANSIENT and await asyncio.to_thread(_fails, training, number):
        raise UnavailableError("The chaos store is away for this document, for a moment.")
    return content_of(training, number)


def _fails(training: str, number: int) -> bool:
    """Twice in all, whichever workers ask: a file beside the ledger for each time."""
    for turn in range(TRANSIENT_FAILURES):
        with contextlib.suppress(FileExistsError):
            (_folder() / f"{training}.{number}.{turn}.failed").touch(exist_ok=False)
            return True
    return False


@cache
def _folder() -> Path:
    for folder in sys.path:
        if folder and (Path(folder) / LEDGER).exists():
            return Path(folder)
    raise FileNotFoundError(LEDGER)


@cache
def ledger() -> int:
    """The descriptor that its lines are written to."""
    return os.open(_folder() / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


class _Execution:
    """One reading of one document, as its lines in the ledger."""

    def __init__(self, training: str, number: int, content: bytes) -> None:
        self._facts = {"training": training, "number": number, "pid": os.getpid(), "key": time.monotonic_ns()}
        self._write("start", hash=hashlib.sha256(content).hexdigest())

    def _write(self, event: str, **more: str) -> None:
        line = json.dumps({"event": event, "at": time.monotonic(), **self._facts, **more})
        os.write(ledger(), line.encode() + b"\n")

    def last(self, seconds: float) -> None:
        """Works for so long, with a line at every tick."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(TICK_SECONDS, left))
            if left > TICK_SECONDS:
                self._write("tick")

    def end(self) -> None:
        self._write("end")


def read(source: Source) -> list[Slice]:
    """The stage ``read``, in a child."""
    content = source.content
    if not content.startswith(b"{"):  # what a child warms up with
        return _said(content.decode())
    document = json.loads(content)
    training, number = document["training"], document["number"]
    kind = kind_of(training, number)
    execution = _Execution(training, number, content)
    if kind is Kind.CRASH:
        os.kill(os.getpid(), signal.SIGABRT)
    if kind is Kind.HANG:
        execution.last(3600)
    execution.last(seconds_of(training, number))
    execution.end()
    if kind is Kind.PERMANENT:
        raise Refusal("CHAOS", "This document is refused each time.")
    return _said(document["text"])


def _said(text: str) -> list[Slice]:
    return [Slice("", "text/plain", list(markdown.blocks(text)))]


def chunk(slices: Iterable[Slice]) -> list[Chunk]:
    """The stage ``chunk``: one chunk."""
    text = "".join(block.text for found in slices for block in found.blocks)
    return [Chunk(0, len(text), 0, "", text)]


class Flat:
    """A model that needs no time."""

    name, dimensions, max_tokens = "chaos", DIMENSIONS, 256

    def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        import numpy as np

        return np.full((len(texts), DIMENSIONS), DIMENSIONS**-0.5, dtype=np.float32)


def flat() -> Flat:
    """What the setting ``embedding`` names."""
    return Flat()
