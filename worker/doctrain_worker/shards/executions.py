"""The worker's own word on what it ran: a line at each start and end of a document, for whoever checks the mesh from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from doctrain_worker.pipeline.processor import DocumentTask, Outcome, Processor, ShardContext, answers_at_once


@contextmanager
def logged(processor: Processor, path: str, worker: str) -> Iterator[Processor]:
    """The processor, with a line for each start and end in the file at ``path``; as it is when that is empty."""
    if not path:
        yield processor
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield (_LoggedAtOnce if answers_at_once(processor) else _Logged)(processor, partial(_write, descriptor, worker))
    finally:
        os.close(descriptor)


class _Log:
    def __init__(self, processor: Any, write: Callable[[str, DocumentTask, ShardContext], None]) -> None:
        self._processor, self._write = processor, write

    @contextmanager
    def _noted(self, document: DocumentTask, shard: ShardContext) -> Iterator[None]:
        self._write("start", document, shard)
        try:
            yield
        finally:
            self._write("end", document, shard)


class _Logged(_Log):
    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        with self._noted(document, shard):
            return cast("Outcome", await self._processor.process(document, shard))


class _LoggedAtOnce(_Log):
    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        with self._noted(document, shard):
            return cast("Outcome", self._processor.process(document, shard))


def _write(descriptor: int, worker: str, event: str, document: DocumentTask, shard: ShardContext) -> None:
    """One line, with one write, so that workers may share a file."""
    line = {
        "event": event,
        "monotonic": time.monotonic(),
        "time": time.time(),
        "worker": worker,
        "tenant_id": shard.tenant_id,
        "training_task_id": shard.training_task_id,
        "document_id": document.document_id,
        "ordinal": document.ordinal,
        "attempt": shard.number,
    }
    os.write(descriptor, json.dumps(line).encode() + b"\n")
