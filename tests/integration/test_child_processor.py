"""The processor that runs one function in children."""

from __future__ import annotations

from doctrain_worker.pipeline.child_processor import ChildProcessor
from doctrain_worker.pipeline.processor import DONE, DocumentTask, ShardContext
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from testkit.limits import LIMITS


async def test_a_plain_function_runs_in_children() -> None:
    shard = ShardContext(1, "acme", 1, "t", 1, 1, 1, 1)
    async with (
        Guardian.open() as guardian,
        ChildProcessor.open(guardian, "builtins:len", limits=LIMITS, isolation=isolation.choose()) as processor,
    ):
        assert await processor.process(DocumentTask(0, "a", ""), shard) is DONE
