"""Processors for acceptance tests, run in the worker: documents take as long as their URIs say, or until the test lets them end."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from doctrain_worker.pipeline.processor import DONE, DocumentTask, ErrorClass, Failure, Outcome, ShardContext

PACE_SECONDS = 0.02


class SlowProcessor:
    """Waits; ``s3://test/20/anything`` takes 20 ms."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the time is over."""
        await asyncio.sleep(int(document.uri.split("/")[3]) / 1000)
        return DONE


class FlakyProcessor(SlowProcessor):
    """As slow, but the first document of each training is not to be had at the worker's first try."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the time is over."""
        if document.ordinal == 0 and shard.training_task_id not in self._tried:
            self._tried.add(shard.training_task_id)
            return Failure(ErrorClass.TRANSIENT, "AWAY", "It cannot be had now.")
        return await super().process(document, shard)


class BlockingProcessor:
    """Takes as long, and lets nothing else of the worker's main process run meanwhile."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the time is over."""
        time.sleep(int(document.uri.split("/")[3]) / 1000)  # noqa: ASYNC251
        return DONE


class GatedProcessor:
    """Waits for a file in the folder ``GATES`` that is named like the document's ordinal."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done when the file is there."""
        gate = Path(os.environ["GATES"]) / str(document.ordinal)
        while not gate.exists():  # noqa: ASYNC110
            await asyncio.sleep(PACE_SECONDS)
        return DONE


slow = SlowProcessor()
flaky = FlakyProcessor()
blocking = BlockingProcessor()
gated = GatedProcessor()
