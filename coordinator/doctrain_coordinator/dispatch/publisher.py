"""Publishes granted shards until the broker has confirmed them.

A publication whose outcome is unknown is made again: doubled messages are harmless, and the grant in Postgres stays the
truth when the broker loses one (the dispatcher publishes overdue grants again).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from doctrain_coordinator.core.latency import Latency
from doctrain_mesh.errors import BrokerUnavailableError, UnavailableError
from doctrain_mesh.ports import Broker, Message

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
BATCH = 256
LOOK_SECONDS = 0.1
LOOK_FROM = 200
"""So many messages that may be in the queue are not looked for."""


class Publisher:
    """Keeps at most one message a shard waiting, the newest; ``run`` is supervised by the application."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[int, Message] = {}
        self._under_way: dict[int, Message] = {}
        self._arrived = asyncio.Event()
        self._depth = self._published = 0
        self._latency = Latency()
        self._confirmed = True

    @property
    def queued(self) -> int:
        """How many messages may be in the queue or wait to be published, those of grants that are over included.

        Never too few of what this process published; what another one did is counted from the first look at the queue.
        """
        return self._depth + self._published + self.unconfirmed

    @property
    def unconfirmed(self) -> int:
        """How many messages the broker has not confirmed."""
        return len(self._under_way) + len(self._waiting)

    @property
    def latency_seconds(self) -> float | None:
        """What a batch took lately until it was confirmed, its repetitions included; None: there was none."""
        return self._latency.lately(time.monotonic())

    def submit(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Queues (shard, message) pairs."""
        self._waiting.update(messages)
        if self._waiting:
            self._arrived.set()

    async def run(self) -> None:
        """Publishes until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._publish(), name="publications")
            loops.create_task(self._look(), name="length of the queue")

    async def _look(self) -> None:
        """Learns how many of what was published the workers have taken; what the broker does not tell is taken to be there.

        What is under way while it is asked, it may count or not: that is counted here until the next look.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._depth + self._published <= LOOK_FROM:
                continue
            published = self._published
            try:
                self._depth = (await self._broker.depth()).ready
            except UnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._published -= published

    async def _publish(self) -> None:
        while True:
            await self._arrived.wait()
            self._under_way = batch = {shard: self._waiting.pop(shard) for shard in list(self._waiting)[:BATCH]}
            self._latency.began(time.monotonic())
            try:
                await self._broker.publish(list(batch.values()))
            except BrokerUnavailableError as error:
                if self._confirmed:
                    log.warning("The broker did not confirm %d shards; they are published again: %s", len(batch), error)
                self._confirmed = False
                self._settle(batch | self._waiting)  # where both have a shard, the newer one waits
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._latency.ended(time.monotonic())
            self._confirmed = True
            self._settle(self._waiting)
            if not self._waiting:
                self._arrived.clear()

    def _settle(self, waiting: dict[int, Message]) -> None:
        """Nothing is under way any more; what was may be in the queue, confirmed or not, and ``waiting`` is published next."""
        self._published += len(self._under_way)
        self._under_way, self._waiting = {}, waiting
