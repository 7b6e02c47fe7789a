"""What every broker does, the real one and the stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.broker.rabbitmq import RabbitMQBroker
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import DEAD_REASON, Broker, Consumer, Delivery, Message
from testkit.rabbitmq import QueuePlace
from testkit.waiting import wait_until


@dataclass
class Place:
    """``connect`` is a process's own way to the one queue."""

    connect: Callable[[], Broker]


@pytest.fixture
def place_in_memory() -> Place:
    shared = MemoryBroker()
    return Place(lambda: shared)


@pytest.fixture
async def place_on_rabbitmq(rabbitmq: QueuePlace) -> AsyncIterator[Place]:
    opened: list[RabbitMQBroker] = []

    def connect() -> Broker:
        opened.append(RabbitMQBroker(rabbitmq.url, queue=rabbitmq.queue))
        return opened[-1]

    yield Place(connect)
    for broker in opened:
        await broker.close()


@pytest.fixture(params=["place_in_memory", pytest.param("place_on_rabbitmq", marks=pytest.mark.rabbitmq)])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def broker(place: Place) -> Broker:
    return place.connect()


def messages(count: int, start: int = 0) -> list[Message]:
    return [Message(str(number).encode()) for number in range(start, start + count)]


async def receive(consumer: Consumer, count: int) -> list[Delivery]:
    async with asyncio.timeout(10):
        return [await anext(consumer) for _ in range(count)]


def bodies(deliveries: list[Delivery]) -> list[int]:
    return sorted(int(delivery.message.body) for delivery in deliveries)


async def nothing_more(consumer: Consumer) -> bool:
    """Nothing comes while a message would long have come."""
    try:
        async with asyncio.timeout(0.3):
            await anext(consumer)
    except TimeoutError:
        return True
    return False


async def test_what_is_published_is_delivered_whole(broker: Broker) -> None:
    sent = Message(b"\x00shard\xff", {"traceparent": "00-a-b-01", "umlaut": "ä"}, "7/3")
    async with broker.consume(1) as consumer:
        await broker.publish([sent])
        (delivery,) = await receive(consumer, 1)
        assert delivery.message == sent
        await delivery.ack()
    assert (await broker.depth()).ready == 0


async def test_consumers_of_the_shard_queue_are_counted(broker: Broker) -> None:
    assert (await broker.depth()).consumers == 0
    async with broker.consume(1), broker.consume(1), broker.dead_letters(1):
        await wait_until(lambda: _consumers_are(broker, 2))
    await wait_until(lambda: _consumers_are(broker, 0))


async def test_a_consumer_that_is_served_is_never_unsubscribed(broker: Broker) -> None:
    async with broker.consume(1) as consumer:
        assert not consumer.unsubscribed, "while it subscribes"
        await broker.publish(messages(1))
        await receive(consumer, 1)
        assert not consumer.unsubscribed


async def test_publishing_nothing_is_allowed(broker: Broker) -> None:
    await broker.publish([])
    assert (await broker.depth()).ready == 0


async def test_messages_wait_for_a_consumer(broker: Broker) -> None:
    await broker.publish(messages(3))
    await wait_until(lambda: _depth_is(broker, 3))
    async with broker.consume(5) as consumer:
        for delivery in await receive(consumer, 3):
            await delivery.ack()


async def test_a_consumer_holds_no_more_than_its_prefetch(broker: Broker) -> None:
    await broker.publish(messages(5))
    async with broker.consume(2) as consumer:
        first, second = await receive(consumer, 2)
        assert await nothing_more(consumer)
        await wait_until(lambda: _depth_is(broker, 3))
        await first.ack()
        (third,) = await receive(consumer, 1)
        assert await nothing_more(consumer)
        assert bodies([first, second, third]) == [0, 1, 2]


async def test_what_a_lost_consumer_held_comes_again(place: Place, broker: Broker) -> None:
    await broker.publish(messages(3))
    async with place.connect().consume(2) as consumer:
        held = await receive(consumer, 2)
    async with broker.consume(5) as consumer:
        again = await receive(consumer, 3)
        assert bodies(again) == [0, 1, 2]
        for delivery in held:
            await delivery.ack()  # on a loan that has ended: does nothing
        assert await nothing_more(consumer)
    await wait_until(lambda: _depth_is(broker, 3))


async def test_an_acked_message_is_gone_with_its_consumer(place: Place, broker: Broker) -> None:
    await broker.publish(messages(4))
    async with place.connect().consume(4) as consumer:
        for delivery in await receive(consumer, 4):
            if delivery.message.body != b"2":
                await delivery.ack()
    async with broker.consume(4) as consumer:
        assert bodies(await receive(consumer, 1)) == [2]
        assert await nothing_more(consumer)


async def test_a_message_unseen_by_its_consumer_is_not_lost(place: Place, broker: Broker) -> None:
    await broker.publish(messages(3))
    async with place.connect().consume(3) as consumer:
        await receive(consumer, 1)
        await wait_until(lambda: _depth_is(broker, 0))
    await wait_until(lambda: _depth_is(broker, 3))


async def test_a_rejected_message_goes_to_the_dead_letters_once(place: Place, broker: Broker) -> None:
    await broker.publish(messages(2))
    async with broker.consume(2) as consumer:
        for delivery in await receive(consumer, 2):
            await (delivery.reject() if delivery.message.body == b"1" else delivery.ack())
        assert await nothing_more(consumer)
    async with broker.dead_letters(5) as letters:
        (dead,) = await receive(letters, 1)
        assert (dead.message.body, dead.message.headers[DEAD_REASON]) == (b"1", "rejected")
        await dead.ack()
        assert await nothing_more(letters)
    async with broker.dead_letters(5) as letters:
        assert await nothing_more(letters)
    assert (await broker.depth()).ready == 0


async def test_settling_twice_does_nothing(place: Place, broker: Broker) -> None:
    await broker.publish(messages(2))
    async with broker.consume(1) as consumer:
        (first,) = await receive(consumer, 1)
        await first.ack()
        await first.ack()
        await first.reject()
        (second,) = await receive(consumer, 1)
        await second.ack()
    async with broker.dead_letters(5) as letters:
        assert await nothing_more(letters)
    assert (await broker.depth()).ready == 0


async def test_each_message_goes_to_one_of_many_consumers_and_all_get_some(place: Place, broker: Broker) -> None:
    await broker.depth()  # RabbitMQ 3.10 refuses, for a moment, some of those who declare a new quorum queue at once
    got: list[list[int]] = [[], [], []]
    left = asyncio.Semaphore(0)

    async def work(consumer: Consumer, mine: list[int]) -> None:
        async for delivery in consumer:
            mine.append(int(delivery.message.body))
            await delivery.ack()
            left.release()

    async with (
        place.connect().consume(2) as one,
        place.connect().consume(2) as two,
        place.connect().consume(2) as three,
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        workers = [group.create_task(work(consumer, mine)) for consumer, mine in zip((one, two, three), got, strict=True)]
        await broker.publish(messages(6))
        for _ in range(6):
            await left.acquire()
        await broker.publish(messages(294, 6))
        for _ in range(294):
            await left.acquire()
        for worker in workers:
            worker.cancel()
    assert sorted(number for mine in got for number in mine) == list(range(300))
    assert all(got)


async def test_a_large_body_and_an_empty_one(broker: Broker) -> None:
    large, empty = Message(bytes(range(256)) * 8192), Message(b"")
    await broker.publish([large, empty])
    async with broker.consume(2) as consumer:
        received = await receive(consumer, 2)
        assert sorted(len(delivery.message.body) for delivery in received) == [0, 2 * 2**20]
        assert large in [delivery.message for delivery in received]


async def test_the_same_message_published_twice_is_two_messages(broker: Broker) -> None:
    message = Message(b"7", message_id="grant 7/1")
    await broker.publish([message, message])
    await broker.publish([message])
    async with broker.consume(5) as consumer:
        assert [delivery.message for delivery in await receive(consumer, 3)] == [message] * 3


async def test_concurrent_publications_are_all_confirmed(broker: Broker) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(broker.publish(messages(50, 50 * part)) for part in range(10)))
    await wait_until(lambda: _depth_is(broker, 500))


async def test_a_cancelled_wait_for_a_delivery_loses_nothing(broker: Broker) -> None:
    async with broker.consume(1) as consumer:
        assert await nothing_more(consumer)
        await broker.publish(messages(1))
        assert bodies(await receive(consumer, 1)) == [0]


async def test_closing_twice_is_closing_and_a_closed_broker_publishes_nothing(broker: Broker) -> None:
    await broker.publish(messages(1))
    await broker.close()
    await broker.close()
    with pytest.raises(BrokerUnavailableError):
        await broker.publish(messages(1))


async def _depth_is(broker: Broker, count: int) -> bool:
    return (await broker.depth()).ready == count


async def _consumers_are(broker: Broker, count: int) -> bool:
    return (await broker.depth()).consumers == count
