"""Stand-in work for benchmarks, named by DOCTRAIN_PROCESSOR."""

from __future__ import annotations

import asyncio
import time

from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext


class Noop:
    """Does nothing, in the worker's main process."""

    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done at once."""
        return DONE


class Sleep:
    """Waits for 10 ms, as a document that waits for its source."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done 10 ms later."""
        await asyncio.sleep(0.010)
        return DONE


class SleepLong:
    """Waits for a second, as a document that a slow service reads."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done a second later."""
        await asyncio.sleep(1.0)
        return DONE


class Burn:
    """Keeps a core busy for 5 ms, in the worker's main process."""

    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        """Done after 5 ms of CPU."""
        until = time.thread_time() + 0.005
        while time.thread_time() < until:
            pass
        return DONE


noop = Noop()
sleep = Sleep()
sleep_long = SleepLong()
burn = Burn()
