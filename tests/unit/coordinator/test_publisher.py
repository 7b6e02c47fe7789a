"""What a publisher says of the queue, with a broker that takes its time to confirm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from doctrain_coordinator.dispatch import publisher
from doctrain_coordinator.dispatch.publisher import BATCH, Publisher
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import Message, QueueDepth
from testkit.waiting import wait_until


class SlowBroker(MemoryBroker):
    """Takes messages in when it is told to, and then confirms them, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.looks, self.fails = 0, 0, False
        self.takes = asyncio.Semaphore(0)
        self.bodies: list[bytes] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.asked += 1
        await self.takes.acquire()
        await super().publish(messages)
        self.bodies += [message.body for message in messages]
        if self.fails:
            raise BrokerUnavailableError("The broker went away.")

    async def depth(self) -> QueueDepth:
        found = await super().depth()
        self.looks += 1
        return found


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> SlowBroker:
    monkeypatch.setattr(publisher, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(publisher, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(publisher, "LOOK_FROM", 0)
    return SlowBroker()


@asynccontextmanager
async def running(broker: SlowBroker) -> AsyncIterator[Publisher]:
    made = Publisher(broker)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def messages(first: int, count: int, body: bytes = b"") -> list[tuple[int, Message]]:
    return [(shard, Message(body or b"%d" % shard)) for shard in range(first, first + count)]


async def asked(broker: SlowBroker, times: int) -> None:
    await wait_until(lambda: broker.asked == times)


async def looked_again(broker: SlowBroker) -> None:
    looks = broker.looks + 2
    await wait_until(lambda: broker.looks >= looks)


async def test_the_queue_is_never_longer_than_it_is_said_to_be(broker: SlowBroker) -> None:
    async with running(broker) as made:
        made.submit(messages(0, 1))
        broker.takes.release()
        await wait_until(lambda: not made.unconfirmed)
        made.submit(messages(1, 3 * BATCH))
        for batch in range(1, 4):
            await asked(broker, batch + 1)
            assert made.queued == 1 + 3 * BATCH, "each is counted once, wherever it is"
            await looked_again(broker)
            assert made.queued == 1 + 3 * BATCH
            broker.takes.release()
        await wait_until(lambda: not made.unconfirmed)
        assert made.queued >= (await broker.depth()).ready == 1 + 3 * BATCH
        await looked_again(broker)
        assert made.queued == 1 + 3 * BATCH


async def test_what_may_have_been_published_is_counted_and_published_again(broker: SlowBroker) -> None:
    async with running(broker) as made:
        broker.fails = True
        made.submit(messages(0, 2, b"old"))
        await asked(broker, 1)
        made.submit(messages(1, 1, b"new"))
        broker.takes.release()
        await asked(broker, 2)
        assert made.queued >= 4, "two that may be there, and two that go there again"
        broker.fails = False
        broker.takes.release()
        await wait_until(lambda: not made.unconfirmed)
        assert broker.bodies == [b"old", b"old", b"old", b"new"]
