"""The product's in-memory broker with what goes wrong with real ones: late, lost, doubled, out of order, delivered again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import Consumer, Delivery, Message
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from simulation.virtual_loop import PROCESS, Process


class SimulatedBroker(MemoryBroker):
    """Shares of publications that a fault meets; all zero at first.

    ``acked`` is called with each message before the last copy of it is forgotten.
    """

    def __init__(self, draw: random.Random, acked: Callable[[Process | None, int, int], None]) -> None:
        super().__init__()
        self._draw, self._acked = draw, acked
        self.before = self.after = self.lost = self.doubled = self.shuffled = self.slow = 0.0

    async def publish(self, messages: Sequence[Message]) -> None:
        draw, process = self._draw, PROCESS.get()
        await asyncio.sleep(draw.uniform(0.05, 1.5) if draw.random() < self.slow else draw.uniform(0.0005, 0.003))
        if draw.random() < self.before or (process is not None and not process.alive):
            raise BrokerUnavailableError("The broker is away.")
        kept = [message for message in messages if draw.random() >= self.lost]
        kept += [message for message in kept if draw.random() < self.doubled]
        if draw.random() < self.shuffled:
            draw.shuffle(kept)
            ready = list(self._shards._ready)
            draw.shuffle(ready)
            self._shards._ready.clear()
            self._shards._ready.extend(ready)
        await super().publish(kept)
        if draw.random() < self.after:
            raise BrokerUnavailableError("The broker did not confirm in time.")

    @asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator[Consumer]:
        process = PROCESS.get()
        async with self._shards.consume(prefetch) as consumer:
            yield _Door(self, consumer, process)

    def unacked(self) -> int:
        """Messages that consumers have."""
        return sum(len(consumer._lent) for consumer in self._shards._consumers)

    def waiting(self) -> int:
        """Messages that nobody has."""
        return len(self._shards._ready)

    def deliver_again(self) -> None:
        """A consumer's channel is closed: what it has goes back to the queue, and to others, while it works on."""
        if self._shards._consumers:
            consumer = self._draw.choice(list(self._shards._consumers))
            self._shards._ready.extendleft(delivery.message for delivery in reversed(consumer.take_back()))
            self._shards.dispatch()

    def wipe(self) -> None:
        """It comes back empty."""
        self._shards._ready.clear()
        for consumer in self._shards._consumers:
            consumer.take_back()

    def settle(self, process: Process | None, delivery: Any) -> None:
        """An ack arrives; one of a delivery that was taken back says nothing, nor one of a copy while there are others."""
        key = _key(delivery.message)
        lent = [other for consumer in self._shards._consumers for other in consumer._lent if other is not delivery]
        copies = [_key(message) for message in (*self._shards._ready, *(other.message for other in lent))]
        if delivery in delivery._consumer._lent and key not in copies:
            self._acked(process, *key)


def _key(message: Message) -> tuple[int, int]:
    grant = ShardMessage.FromString(message.body)
    return grant.shard, grant.number


class _Door:
    """A consumer as one process has it: when that is dead, its acks do not arrive."""

    def __init__(self, broker: SimulatedBroker, consumer: Consumer, process: Process | None) -> None:
        self._broker, self._consumer, self._process = broker, consumer, process

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    @property
    def unsubscribed(self) -> bool:
        return self._consumer.unsubscribed

    async def __anext__(self) -> Delivery:
        return _Lent(self._broker, await self._consumer.__anext__(), self._process)


class _Lent:
    def __init__(self, broker: SimulatedBroker, delivery: Delivery, process: Process | None) -> None:
        self._broker, self._delivery, self._process = broker, delivery, process
        self.message = delivery.message

    async def ack(self) -> None:
        if self._process is None or self._process.alive:
            self._broker.settle(self._process, self._delivery)
            await self._delivery.ack()

    async def reject(self) -> None:
        raise AssertionError("no message of a shard is ever rejected")
