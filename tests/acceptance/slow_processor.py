"""A processor for acceptance tests, run in the worker: each document takes as long as its URI says, in milliseconds."""

from __future__ import annotations

import asyncio
import time

from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext


class SlowProcessor:
    """Waits; ``s3://test/20/anything`` takes 20 ms."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the time is over."""
        await asyncio.sleep(int(document.uri.split("/")[3]) / 1000)
        return DONE


class BlockingProcessor:
    """Takes as long, and lets nothing else of the worker's main process run meanwhile."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the time is over."""
        time.sleep(int(document.uri.split("/")[3]) / 1000)  # noqa: ASYNC251
        return DONE


slow = SlowProcessor()
blocking = BlockingProcessor()
