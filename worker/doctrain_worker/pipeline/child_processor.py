"""A processor that runs one function in children: for work that needs no pipeline, and to measure what children cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext
from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec, ChildStartError
from doctrain_worker.sandbox.shared.ends import Result

_ANYTHING = msgspec.msgpack.Decoder(msgspec.Raw)
"""Nobody looks at what the function returned."""


class ChildProcessor:
    """A ``Processor``. Made by ``open``; the function takes a dict with the document's id, ordinal, URI and metadata."""

    def __init__(self, pool: ChildPool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits

    @classmethod
    @asynccontextmanager
    async def open(cls, guardian: Guardian, function: str, *, limits: Limits, isolation: Isolation) -> AsyncIterator[ChildProcessor]:
        """Children for ``function``, as ``package.module:attribute``. Raises ChildStartError."""
        spec = ChildSpec(function, memory_bytes=limits.document_memory_bytes, recycle_calls=100_000)
        async with ChildPool.open(guardian, spec, limits.children, isolation) as pool:
            yield cls(pool, limits)

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """See ``Processor``."""
        task = {
            "tenant_id": shard.tenant_id,
            "document_id": document.document_id,
            "ordinal": document.ordinal,
            "uri": document.uri,
            "metadata": document.metadata,
        }
        try:
            end = await self._pool.run(task, self._limits.call_seconds, _ANYTHING, shard.traceparent, owner=shard.tenant)
        except ChildStartError as error:
            return failures.transient("NO_CHILD", f"No process for the document could be started. {error}")
        return DONE if isinstance(end, Result) else failures.of_call(end, "processing")
