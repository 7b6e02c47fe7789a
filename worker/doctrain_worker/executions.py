"""The worker's own word on what it ran: a line at each start and end of a document, for whoever checks the mesh from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from doctrain_worker.pipeline.processor import DocumentTask, ShardContext

Write = Callable[[str, DocumentTask, ShardContext], None]


def open_log(path: str, worker: str) -> Write | None:
    """A function that appends a line with one write; None for an empty path. The file stays open with the process."""
    if not path:
        return None
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(event: str, document: DocumentTask, shard: ShardContext) -> None:
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

    return write
