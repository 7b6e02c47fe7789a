"""A worker in this process, with a guardian of its own, and a processor whose documents end when a test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from doctrain_mesh.ports import Broker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_worker import app
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Outcome, ShardContext
from doctrain_worker.sandbox.main.link import Guardian


@dataclass
class Documents:
    """A processor whose documents end when the test lets them; ``running`` and ``most`` count them."""

    free: bool = False
    outcome: Outcome = DONE
    started: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    running: set[int] = field(default_factory=set)
    most: int = 0
    _let_go: dict[int, asyncio.Event] = field(default_factory=dict)

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        self.started.append(document.ordinal)
        self.running.add(document.ordinal)
        self.most = max(self.most, len(self.running))
        try:
            if not self.free:
                await self._let_go.setdefault(document.ordinal, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled.append(document.ordinal)
            raise
        finally:
            self.running.discard(document.ordinal)
        return self.outcome

    def end(self, *ordinals: int) -> None:
        """Lets documents end, now or once they start."""
        for ordinal in ordinals:
            self._let_go.setdefault(ordinal, asyncio.Event()).set()

    def end_all(self) -> None:
        """Lets every document end, also those that start later."""
        self.free = True
        self.end(*self._let_go)


@asynccontextmanager
async def working(
    broker: Broker,
    processor: Any,
    *coordinators: str,
    guardian: Guardian,
    registry: MemoryRegistry | None = None,
    wait: bool = True,
    **settings: Any,
) -> AsyncIterator[app.Running]:
    """A worker below this guardian; with ``wait``, one that has a session."""
    chosen = {"name": "worker", "lanes": 2, "fence_margin_seconds": 0.5, "drain_seconds": 5.0, **settings}
    own = Settings(coordinators=",".join(coordinators), **chosen)
    made = app.running(own, broker=broker, registry=registry or MemoryRegistry(), guardian=guardian, processor=processor, version="1")
    async with made as running:
        if wait:
            async with asyncio.timeout(10):
                await running.session.opened.wait()
        yield running


@asynccontextmanager
async def worker(broker: Broker, processor: Any, *coordinators: str, **chosen: Any) -> AsyncIterator[app.Running]:
    """The same with a guardian of its own."""
    async with Guardian.open() as guardian, working(broker, processor, *coordinators, guardian=guardian, **chosen) as running:
        yield running


async def settled(broker: Broker) -> bool:
    """Whether, with no consumer left, no message came back: all were acked."""
    return (await broker.depth()).ready == 0
