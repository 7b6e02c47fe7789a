"""The broker within one process: what RabbitMQ does for doctrain, without a server and without durability."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import DEAD_REASON, Consumer, Delivery, Message, QueueDepth


class MemoryBroker:
    """A shard queue and its dead letters. All that use it share the object."""

    def __init__(self) -> None:
        self._dead = _MemoryQueue(dead=None)
        self._shards = _MemoryQueue(self._dead)
        self._closed = False

    async def publish(self, messages: Sequence[Message]) -> None:
        self._check_open()
        self._shards.add(messages)

    def consume(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        return self._shards.consume(prefetch)

    def dead_letters(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        return self._dead.consume(prefetch)

    async def faults(self) -> list[str]:
        self._check_open()
        return []

    async def depth(self) -> QueueDepth:
        self._check_open()
        return self._shards.depth

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailableError("The broker was closed by this process.")


class _MemoryQueue:
    """Messages in order; what is rejected goes to ``dead``, or nowhere."""

    def __init__(self, dead: _MemoryQueue | None) -> None:
        self._dead = dead
        self._ready: deque[Message] = deque()
        self._consumers: deque[_MemoryConsumer] = deque()

    @property
    def depth(self) -> QueueDepth:
        return QueueDepth(len(self._ready), len(self._consumers))

    def add(self, messages: Iterable[Message]) -> None:
        self._ready.extend(messages)
        self.dispatch()

    def bury(self, message: Message) -> None:
        if self._dead is not None:
            self._dead.add([replace(message, headers={**message.headers, DEAD_REASON: "rejected"})])

    @asynccontextmanager
    async def consume(self, prefetch: int) -> AsyncIterator[Consumer]:
        consumer = _MemoryConsumer(self, prefetch)
        self._consumers.append(consumer)
        self.dispatch()
        try:
            yield consumer
        finally:
            self._consumers.remove(consumer)
            self._ready.extendleft(delivery.message for delivery in reversed(consumer.take_back()))
            self.dispatch()

    def dispatch(self) -> None:
        """Lends what is ready to the consumers with room, in turn."""
        waiting = len(self._consumers)
        while self._ready and waiting:
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.has_room:
                consumer.lend(self._ready.popleft())
                waiting = len(self._consumers)
            else:
                waiting -= 1


class _MemoryConsumer:
    unsubscribed = False  # nothing is between it and its queue

    def __init__(self, queue: _MemoryQueue, prefetch: int) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._lent: dict[_MemoryDelivery, None] = {}  # in the order of delivery
        self._unseen: asyncio.Queue[_MemoryDelivery] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        return await self._unseen.get()

    @property
    def has_room(self) -> bool:
        return len(self._lent) < self._prefetch

    def lend(self, message: Message) -> None:
        delivery = _MemoryDelivery(self, message)
        self._lent[delivery] = None
        self._unseen.put_nowait(delivery)

    def settle(self, delivery: _MemoryDelivery, *, dead: bool) -> None:
        """Does nothing for a delivery that was settled or taken back."""
        if delivery in self._lent:
            del self._lent[delivery]
            if dead:
                self._queue.bury(delivery.message)
            self._queue.dispatch()

    def take_back(self) -> list[_MemoryDelivery]:
        """Ends all loans."""
        lent, self._lent = list(self._lent), {}
        return lent


class _MemoryDelivery:
    __slots__ = ("_consumer", "message")

    def __init__(self, consumer: _MemoryConsumer, message: Message) -> None:
        self._consumer = consumer
        self.message = message

    async def ack(self) -> None:
        self._consumer.settle(self, dead=False)

    async def reject(self) -> None:
        self._consumer.settle(self, dead=True)
