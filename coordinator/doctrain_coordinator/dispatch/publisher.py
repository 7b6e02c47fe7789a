"""Publishes granted shards until the broker has confirmed them.

A publication whose outcome is unknown is made again: doubled messages are harmless, and the grant in Postgres stays the
truth when the broker loses one (the dispatcher publishes overdue grants again).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import Broker, Message

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
BATCH = 256


class Publisher:
    """Keeps at most one message a shard waiting, the newest; ``run`` is supervised by the application."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[int, Message] = {}
        self._arrived = asyncio.Event()
        self.broker_answers = True

    def submit(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Queues (shard, message) pairs."""
        self._waiting.update(messages)
        if self._waiting:
            self._arrived.set()

    async def run(self) -> None:
        """Publishes until cancelled."""
        while True:
            await self._arrived.wait()
            batch = dict(list(self._waiting.items())[:BATCH])
            try:
                await self._broker.publish(list(batch.values()))
            except BrokerUnavailableError as error:
                if self.broker_answers:
                    log.warning("The broker did not confirm %d shards; they are published again: %s", len(batch), error)
                self.broker_answers = False
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.broker_answers = True
            for shard, message in batch.items():
                if self._waiting.get(shard) is message:
                    del self._waiting[shard]
            if not self._waiting:
                self._arrived.clear()
