"""RabbitMQ killed, frozen, wiped, out of memory or disk: doctrain waits, says so in time, and goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest

from doctrain_mesh.broker import rabbitmq
from doctrain_mesh.broker.rabbitmq import CLOSE_SECONDS, DELIVERY_LIMIT, RabbitMQBroker
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.ports import Consumer, Delivery, Message
from testkit.certificates import self_signed, signed
from testkit.rabbitmq import QueuePlace, RabbitMQServer, Resource
from testkit.server import free_port
from testkit.waiting import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.chaos, pytest.mark.xdist_group("rabbitmq-faults")]

PUBLISH_SECONDS = 1.0
SLACK_SECONDS = 5.0
"""What a busy machine adds to a time limit; without the limit it would take minutes."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "PUBLISH_SECONDS", PUBLISH_SECONDS)


@pytest.fixture
async def place(own_rabbitmq: RabbitMQServer) -> AsyncIterator[QueuePlace]:
    async with own_rabbitmq.place() as place:
        yield place
        await asyncio.to_thread(own_rabbitmq.ensure_started)


@pytest.fixture
async def broker(place: QueuePlace) -> AsyncIterator[RabbitMQBroker]:
    broker = RabbitMQBroker(place.url, queue=place.queue, heartbeat_seconds=1)
    yield broker
    await broker.close()


async def publish_when_possible(broker: RabbitMQBroker, *messages: Message) -> None:
    """As the dispatcher does: again and again until confirmed."""

    async def published() -> bool:
        try:
            await broker.publish(messages)
        except BrokerUnavailableError:
            return False
        return True

    await wait_until(published, 30)


async def receive(consumer: Consumer, body: bytes = b"") -> Delivery:
    """The next delivery, or the next with this body; the others are acked."""
    async with asyncio.timeout(30):
        async for delivery in consumer:
            if not body or delivery.message.body == body:
                return delivery
            await delivery.ack()
    raise AssertionError("a consumer does not end")


async def test_a_consumer_goes_on_after_a_kill_and_gets_again_what_it_held(own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await publish_when_possible(broker, Message(b"held"), Message(b"waiting"))
    await own_rabbitmq.settle()
    async with broker.consume(1) as consumer:
        held = await receive(consumer)
        assert not consumer.unsubscribed
        own_rabbitmq.kill()
        await held.ack()  # nobody hears it
        await wait_until(lambda: consumer.unsubscribed)
        await own_rabbitmq.restart()
        again = [await receive(consumer)]
        await again[0].ack()
        again.append(await receive(consumer))
        await again[1].ack()
        assert {delivery.message.body for delivery in again} == {b"held", b"waiting"}
        assert not consumer.unsubscribed
        await publish_when_possible(broker, Message(b"new"))
        assert (await receive(consumer)).message.body == b"new"


async def test_a_wiped_server_gets_its_queues_again(own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker, place: QueuePlace) -> None:
    async with broker.consume(5) as consumer:
        await publish_when_possible(broker, Message(b"lost"))
        await own_rabbitmq.wipe()
        await publish_when_possible(broker, Message(b"after"))
        await (await receive(consumer, b"after")).reject()

    async def dead() -> bool:
        async with await aio_pika.connect(place.url) as connection, connection.channel() as channel:
            queue = await channel.get_queue(f"{place.queue}.dead")
            return queue.declaration_result.message_count == 1

    await wait_until(dead)


async def test_a_frozen_server_costs_a_publication_its_time_limit_and_no_more(own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await publish_when_possible(broker, Message(b"before"))
    own_rabbitmq.freeze()
    for _ in range(2):  # on the open connection, then on a new one
        started = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="did not finish within"):
            await broker.publish([Message(b"unknown")])
        assert time.monotonic() - started < PUBLISH_SECONDS + CLOSE_SECONDS + SLACK_SECONDS
    own_rabbitmq.thaw()
    await publish_when_possible(broker, Message(b"after"))
    async with broker.consume(10) as consumer:
        assert (await receive(consumer, b"after")).message.body == b"after"


async def test_a_question_that_is_given_up_costs_no_publication_its_confirm(
    own_rabbitmq: RabbitMQServer, place: QueuePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "PUBLISH_SECONDS", 60.0)
    broker = RabbitMQBroker(place.url, queue=place.queue, heartbeat_seconds=60)
    try:
        assert (await broker.depth()).ready == 0
        await broker.publish([Message(b"before")])
        own_rabbitmq.freeze()
        publication = asyncio.create_task(broker.publish([Message(b"waits for its confirm")]))
        with pytest.raises(BrokerUnavailableError, match="asking for the queue's length"):
            await broker.depth()
        cut = asyncio.create_task(broker.depth())
        await asyncio.sleep(0)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        own_rabbitmq.thaw()
        await publication
        await wait_until(lambda: _depth_is(broker, 2))
    finally:
        own_rabbitmq.ensure_started()
        await broker.close()


async def _depth_is(broker: RabbitMQBroker, count: int) -> bool:
    return (await broker.depth()).ready == count


async def test_a_connection_that_closes_without_a_reason_is_an_absent_broker(
    broker: RabbitMQBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(_: aio_pika.Channel, timeout: object = None) -> None:
        raise Exception  # what aiormq answers whoever waits on a channel then

    with monkeypatch.context() as patched:
        patched.setattr(aio_pika.Channel, "initialize", closed)
        with pytest.raises(BrokerUnavailableError, match="its connection was closed"):
            await broker.depth()
    assert (await broker.depth()).ready == 0


async def test_a_silent_connection_is_given_up_and_cancels_nobody(
    own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aio-pika ends a stuck publication by CancelledError, which would silently end the loop that published."""
    monkeypatch.setattr(rabbitmq, "PUBLISH_SECONDS", 30.0)
    caplog.set_level("INFO", "doctrain_mesh.broker.rabbitmq")
    async with broker.consume(1) as consumer:
        await publish_when_possible(broker, Message(b"held"))
        held = await receive(consumer)
        own_rabbitmq.freeze()
        with pytest.raises(BrokerUnavailableError, match="did not confirm 1 of 1"):
            await broker.publish([Message(b"unknown")])
        await wait_until(lambda: "subscription to RabbitMQ was lost" in caplog.text, 15)
        own_rabbitmq.thaw()
        await held.ack()
        again = await receive(consumer)
        assert again.message.body == b"held"


async def test_leaving_a_frozen_server_takes_no_longer_than_closing_may(own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker) -> None:
    async with broker.consume(1) as consumer:
        await publish_when_possible(broker, Message(b"held"))
        await receive(consumer)
        own_rabbitmq.freeze()
        started = time.monotonic()
    await broker.close()
    assert time.monotonic() - started < 2 * CLOSE_SECONDS + SLACK_SECONDS


async def test_an_unroutable_message_is_an_error_and_the_next_call_mends_it(broker: RabbitMQBroker, place: QueuePlace) -> None:
    await broker.publish([Message(b"1")])
    async with await aio_pika.connect(place.url) as connection, connection.channel() as channel:
        await channel.queue_delete(place.queue)
    with pytest.raises(BrokerUnavailableError, match="2 of 2 messages"):
        await broker.publish([Message(b"2", message_id="same"), Message(b"2", message_id="same")])
    await broker.publish([Message(b"3")])
    assert (await broker.depth()).ready == 1


async def test_a_message_that_comes_back_often_is_delivered_still(
    own_rabbitmq: RabbitMQServer, place: QueuePlace, broker: RabbitMQBroker
) -> None:
    """RabbitMQ 4 gives up after 20 deliveries where its queue does not say otherwise."""
    await broker.publish([Message(b"again and again")])
    async with await aio_pika.connect(place.url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(place.queue)
        for _ in range(30):
            incoming = await queue.get(timeout=10, fail=True)
            await incoming.reject(requeue=True)
            await wait_until(lambda: _depth_is(broker, 1))
    async with broker.consume(1) as consumer:
        assert (await receive(consumer)).message.body == b"again and again"
    declared = json.loads(await own_rabbitmq.ask("list_queues", "name", "arguments", "--formatter", "json"))
    arguments = {row["name"]: {name: value for name, _, value in row["arguments"]} for row in declared}
    dead = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    assert arguments[f"{place.queue}.dead"] == dead
    assert arguments[place.queue] == {
        **dead,
        "x-dead-letter-exchange": f"{place.queue}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


async def test_a_consumer_whose_queue_is_deleted_subscribes_anew(broker: RabbitMQBroker, place: QueuePlace) -> None:
    async with broker.consume(1) as consumer:
        await broker.publish([Message(b"1")])
        await (await receive(consumer)).ack()
        async with await aio_pika.connect(place.url) as connection, connection.channel() as channel:
            await channel.queue_delete(place.queue)
        await publish_when_possible(broker, Message(b"2"))
        assert (await receive(consumer)).message.body == b"2"


async def test_a_process_starts_before_its_broker_and_begins_when_it_comes(own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker) -> None:
    own_rabbitmq.kill()
    async with broker.consume(1) as consumer:
        started = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            await broker.publish([Message(b"1")])
        assert time.monotonic() - started < 1
        await wait_until(lambda: consumer.unsubscribed)
        await own_rabbitmq.restart()
        await publish_when_possible(broker, Message(b"2"))
        assert (await receive(consumer, b"2")).message.body == b"2"
        assert not consumer.unsubscribed


@pytest.mark.parametrize("short_of", ["memory", "disk"])
async def test_acks_arrive_while_an_alarm_holds_publications_back(
    own_rabbitmq: RabbitMQServer, broker: RabbitMQBroker, short_of: Resource
) -> None:
    await broker.publish([Message(b"1"), Message(b"2")])
    async with broker.consume(1) as consumer:
        first = await receive(consumer)
        async with own_rabbitmq.alarm(short_of):
            with pytest.raises(BrokerUnavailableError):
                await broker.publish([Message(b"3")])
            await first.ack()
            assert (await receive(consumer)).message.body == b"2"
        await publish_when_possible(broker, Message(b"4"))


async def test_tls_with_the_right_authority_and_with_a_wrong_one(own_rabbitmq: RabbitMQServer, place: QueuePlace, tmp_path: Path) -> None:
    own_rabbitmq.tls = self_signed(tmp_path)
    stranger, _ = self_signed(tmp_path, "stranger")
    await own_rabbitmq.restart()
    url = f"amqps://guest:guest@127.0.0.1:{own_rabbitmq.tls_port}/?cafile="
    for authority, outcome in ((own_rabbitmq.tls[0], contextlib.nullcontext()), (stranger, pytest.raises(BrokerUnavailableError))):
        broker = RabbitMQBroker(f"{url}{authority}", queue=place.queue)
        with outcome:
            await broker.publish([Message(b"1")])
            assert (await broker.depth()).ready == 1
        await broker.close()


async def test_a_server_that_asks_for_certificates_is_shown_ours(
    own_rabbitmq: RabbitMQServer, place: QueuePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = signed(tmp_path / "certs")
    stranger, stranger_key = self_signed(tmp_path, "stranger")
    monkeypatch.setattr(own_rabbitmq, "tls", made.server)
    monkeypatch.setattr(own_rabbitmq, "of_clients", made.ca)
    await own_rabbitmq.restart()
    url = f"amqps://guest:guest@127.0.0.1:{own_rabbitmq.tls_port}/?cafile={made.ca}"
    for shown, outcome in (
        (f"&certfile={made.client[0]}&keyfile={made.client[1]}", contextlib.nullcontext()),
        (f"&certfile={stranger}&keyfile={stranger_key}", pytest.raises(BrokerUnavailableError)),
        ("", pytest.raises(BrokerUnavailableError)),
    ):
        broker = RabbitMQBroker(url + shown, queue=place.queue)
        with outcome:
            await broker.publish([Message(b"1")])
            assert (await broker.depth()).ready == 1
        await broker.close()


async def test_a_wrong_password_and_a_closed_port_are_said_without_the_password(own_rabbitmq: RabbitMQServer) -> None:
    for port, sentence in (
        (own_rabbitmq.port, "RabbitMQ refused the user or password in DOCTRAIN_BROKER_URL"),
        (free_port(), "RabbitMQ did not answer"),
    ):
        broker = RabbitMQBroker(f"amqp://doctrain:hunter2@127.0.0.1:{port}/", queue="q")
        with pytest.raises(BrokerUnavailableError, match=sentence) as caught:
            await broker.publish([Message(b"1")])
        assert "hunter2" not in caught.value.sentence


async def test_a_user_without_rights_is_told_what_to_run_and_that_helps(own_rabbitmq: RabbitMQServer) -> None:
    await own_rabbitmq.ask("add_user", "mesh", "hunter2")
    broker = RabbitMQBroker(f"amqp://mesh:hunter2@127.0.0.1:{own_rabbitmq.port}/mesh", queue="q")
    with pytest.raises(BrokerUnavailableError, match="does not let the user of DOCTRAIN_BROKER_URL into the virtual host") as caught:
        await broker.depth()
    assert "rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'" in caught.value.sentence
    await own_rabbitmq.ask("add_vhost", "mesh")
    with pytest.raises(BrokerUnavailableError, match="into the virtual host"):
        await broker.depth()
    await own_rabbitmq.ask("set_permissions", "-p", "mesh", "mesh", "", ".*", ".*")
    with pytest.raises(BrokerUnavailableError, match=r"make and use the queues \(.*access to exchange 'q.dead'"):
        await broker.depth()
    await own_rabbitmq.ask("set_permissions", "-p", "mesh", "mesh", ".*", ".*", ".*")
    assert (await broker.depth()).ready == 0
    await broker.close()


async def test_nothing_is_left_to_close_of_a_connection_that_was_refused(own_rabbitmq: RabbitMQServer) -> None:
    broker = RabbitMQBroker(f"amqp://doctrain:hunter2@127.0.0.1:{own_rabbitmq.port}/", queue="q")
    refusals: list[BrokerUnavailableError] = []
    try:
        await broker.depth()
    except BrokerUnavailableError as error:
        refusals.append(error)

    def forget() -> None:
        asyncio.set_event_loop(stopped := asyncio.new_event_loop())
        refusals.clear()
        gc.collect()
        stopped.close()

    assert refusals
    await asyncio.to_thread(forget)  # as at the end of a process, when its loop runs no more: what is left to await would be a warning
