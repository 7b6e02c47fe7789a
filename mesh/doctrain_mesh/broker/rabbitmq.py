"""RabbitMQ behind the broker's port: a quorum queue, manual acks, publisher confirms, a dead-letter queue.

Connections are plain ones, opened anew here when they are lost, and every new one declares the topology, so a broker that
comes back empty is put right by whoever comes first. Publishing, asking and consuming have a connection each: a broker that runs
short of memory or disk stops reading those that publish, where an ack would never arrive; and a question that is refused, or whose asker
does not wait for its answer, costs its channel, on which publications may wait for their confirms.

What is unknown stays unknown: a publication that was not confirmed in time may still arrive, so publish raises
BrokerUnavailableError and the caller publishes again; two deliveries of one grant are harmless (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AuthenticationError, ProbableAuthenticationError
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.exceptions import ChannelAccessRefused, InvalidFrameError

from doctrain_mesh.errors import BrokerUnavailableError, OperationTimeoutError
from doctrain_mesh.observability.outage import Outage, cause
from doctrain_mesh.ports import Consumer, Delivery, Message, QueueDepth
from doctrain_mesh.supervise import cancellation_first, deadline, forever, guard_cancellation

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
PUBLISH_SECONDS = 5.0
ASK_SECONDS = 2.0
CALL_SECONDS = 5.0
CLOSE_SECONDS = 2.0
RETRY_SECONDS = 1.0

OLDEST = (3, 10)
GRANT = "Run: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*' (before it, for a new one: rabbitmqctl add_vhost VHOST)."
OUTAGE = Outage("RabbitMQ")
CONTENT_TYPE = "application/x-protobuf"

# How often a delivery fails says nothing here: the tracker finds poison. RabbitMQ 4 drops a message after 20 deliveries
# unless told otherwise, counting prefetched neighbours of a crash too; 3.x refuses its "-1" for "never". So: a number that
# is never reached, and the same for all versions, as a queue cannot be declared twice with different arguments.
DELIVERY_LIMIT = 1_000_000


class RabbitMQBroker:
    """The shard queue ``queue`` and its dead letters in ``queue`` + ``.dead``.

    Args:
        url: ``amqp://`` or ``amqps://``, the latter with ``cafile``, ``certfile`` and ``keyfile`` as query where needed.
            Nothing connects before the first call, so a process starts without its broker.
        queue: name of the shard queue.
        heartbeat_seconds: a connection that was silent for three of them and a little is given up.
    """

    def __init__(self, url: str, *, queue: str, heartbeat_seconds: int = 5) -> None:
        self._url = url
        self.queue = queue
        self._heartbeat_seconds = heartbeat_seconds
        self._publications, self._questions = _Kept(self, "publish"), _Kept(self, "ask")

    async def publish(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        async with self._publications.used("publishing", PUBLISH_SECONDS) as link:
            exchange = link.channel.default_exchange
            outcomes = await asyncio.gather(
                *(exchange.publish(_encode(message), routing_key=self.queue, mandatory=True) for message in messages),
                return_exceptions=True,  # aio-pika cancels publications by itself when a connection is stuck
            )
            failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failed:
                OUTAGE.away(f"publishing: {cause(failed[0])}")
                raise BrokerUnavailableError(
                    f"RabbitMQ did not confirm {len(failed)} of {len(messages)} messages ({failed[0]!r}); they may be published again.",
                    retry_after_seconds=RETRY_SECONDS,
                ) from failed[0]

    def consume(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        return self._consuming(self.queue, prefetch)

    def dead_letters(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        return self._consuming(_dead(self.queue), prefetch)

    @asynccontextmanager
    async def _consuming(self, queue: str, prefetch: int) -> AsyncIterator[Consumer]:
        consumer = _RabbitMQConsumer(self, queue, prefetch)
        task = asyncio.create_task(consumer.run(), name="consume from RabbitMQ")
        try:
            yield consumer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # what ended it early was raised by the iterator

    async def faults(self) -> list[str]:
        async with self._questions.used("looking at the server", CALL_SECONDS) as link:
            transport = link.connection.transport
            said = transport.connection.server_properties.get("version", b"") if transport is not None else b""
        version = said.decode() if isinstance(said, bytes) else str(said)
        if _number(version) < OLDEST:
            return [f"RabbitMQ {version} is older than 3.10: its quorum queues can lose dead letters."]
        return []

    async def depth(self) -> QueueDepth:
        async with self._questions.used("asking for the queue's length", ASK_SECONDS) as link:
            found = (await _declare(link.channel, self.queue)).declaration_result
            return QueueDepth(found.message_count or 0, found.consumer_count or 0)

    async def close(self) -> None:
        await self._publications.close()
        await self._questions.close()

    async def open_link(self, purpose: str) -> _Link:
        """A new connection, its channel, and the topology declared."""
        async with _available("connecting"), deadline("Connecting to RabbitMQ", CONNECT_SECONDS):
            url = aio_pika.connection.make_url(self._url, heartbeat=self._heartbeat_seconds)
            connection = aio_pika.Connection(url, client_properties={"connection_name": f"doctrain {purpose}"})
            try:
                await connection.connect()
            except BaseException:
                await connection.close()  # else it is closed when it is forgotten, where nothing may await
                raise
            link = _Link(connection, connection.channel(on_return_raises=True))
            try:
                await link.channel.initialize()
                await _declare(link.channel, self.queue)
            except BaseException:
                await link.close()
                raise
            return link


class _Kept:
    """The connection for one purpose, opened when it is first used, and again after one that was lost or failed."""

    def __init__(self, broker: RabbitMQBroker, purpose: str) -> None:
        self._broker, self._purpose = broker, purpose
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @asynccontextmanager
    async def used(self, operation: str, seconds: float) -> AsyncIterator[_Link]:
        """The connection for one operation; one that failed is not used again. Raises BrokerUnavailableError."""
        link = None
        try:
            async with _available(operation), deadline(operation.capitalize(), seconds):
                link = await self._usable()
                yield link
        except Exception:
            if link is not None:
                if link is self._link:
                    self._link = None
                await link.close()
            raise

    async def close(self) -> None:
        """Ends it; who uses it afterwards gets a BrokerUnavailableError."""
        self._closed = True
        async with self._opening:  # what is being opened would be left behind
            link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _usable(self) -> _Link:
        async with self._opening:
            if self._closed:
                raise BrokerUnavailableError("The connection to RabbitMQ was closed by this process.")
            if self._link is None or not self._link.usable:
                old, self._link = self._link, None
                if old is not None:
                    await old.close()
                self._link = await self._broker.open_link(self._purpose)
            return self._link


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """A connection with its channel."""

    connection: AbstractConnection
    channel: AbstractChannel

    @property
    def usable(self) -> bool:
        return not self.channel.is_closed

    async def close(self) -> None:
        """Ends it in order, or drops it after CLOSE_SECONDS.

        The channel first: its answer says that RabbitMQ has seen all acks before, which closing the connection alone does not.
        """
        try:
            async with deadline("Closing a connection to RabbitMQ", CLOSE_SECONDS), guard_cancellation("Closing a connection"):
                if not self.channel.is_closed:
                    await self.channel.close()
                await self.connection.close()
        except (*CONNECTION_EXCEPTIONS, OperationTimeoutError) as error:
            log.debug("A connection to RabbitMQ was dropped: %s", error)


class _RabbitMQConsumer:
    """Deliveries over as many connections, one after the other, as it takes."""

    def __init__(self, broker: RabbitMQBroker, queue: str, prefetch: int) -> None:
        self._broker, self._queue = broker, queue
        self._prefetch = prefetch
        self.unsubscribed = False
        self._subscribed: AbstractQueue | None = None  # aio-pika holds its consumers weakly
        self._deliveries: asyncio.Queue[_RabbitMQDelivery | Exception] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        delivery = await self._deliveries.get()
        if isinstance(delivery, Exception):
            raise delivery
        return delivery

    async def run(self) -> None:
        """Subscribes, again and again, until cancelled; an error that is not RabbitMQ's absence goes to whoever iterates."""
        try:
            await forever("Consuming from RabbitMQ", self._subscription, retry_seconds=RETRY_SECONDS, expected=BrokerUnavailableError)
        except Exception as error:
            self._deliveries.put_nowait(error)
            raise

    async def _subscription(self) -> None:
        try:
            link = await self._broker.open_link("consume")
        except BrokerUnavailableError:
            self.unsubscribed = True
            raise
        lost = asyncio.Event()
        try:
            async with _available("subscribing"), deadline(f"Subscribing to {self._queue}", CALL_SECONDS):
                await self._subscribe(link, lost)
            self.unsubscribed = False
            await lost.wait()
            level = logging.INFO if link.connection.is_closed else logging.WARNING  # of a connection, connecting anew tells
            log.log(level, "The subscription to RabbitMQ was lost and is made anew; what was unacked will come again.")
        finally:
            lost.set()
            self.unsubscribed = True
            while not self._deliveries.empty():
                self._deliveries.get_nowait()
            await link.close()

    async def _subscribe(self, link: _Link, lost: asyncio.Event) -> None:
        """Starts deliveries. ``lost`` is set when they have ended: connection, channel or queue gone; nothing is taken after it."""
        raw = await link.channel.get_underlay_channel()
        link.channel.close_callbacks.add(lambda *_: lost.set())
        link.connection.close_callbacks.add(lambda *_: lost.set())
        raw.on_consumer_cancel_callbacks.add(lambda _: lost.set())

        async def receive(message: AbstractIncomingMessage) -> None:
            if not lost.is_set():
                self._deliveries.put_nowait(_RabbitMQDelivery(raw, message))

        await link.channel.set_qos(prefetch_count=self._prefetch)
        self._subscribed = await link.channel.get_queue(self._queue, ensure=False)
        await self._subscribed.consume(receive)


class _RabbitMQDelivery:
    """A message on loan. Settling it on a lost channel, or twice, does nothing: RabbitMQ delivers it again, or did already."""

    __slots__ = ("_channel", "_settled", "_tag", "message")

    def __init__(self, channel: RawChannel, incoming: AbstractIncomingMessage) -> None:
        assert incoming.delivery_tag is not None
        self._channel, self._tag, self._settled = channel, incoming.delivery_tag, False
        headers = {name: value for name, value in incoming.headers.items() if isinstance(value, str)}
        self.message = Message(incoming.body, headers, incoming.correlation_id or "")

    async def ack(self) -> None:
        if not self._settled:
            await self._settle(self._channel.basic_ack(self._tag, wait=False))

    async def reject(self) -> None:
        if not self._settled:
            await self._settle(self._channel.basic_reject(self._tag, requeue=False, wait=False))

    async def _settle(self, call: Awaitable[None]) -> None:
        self._settled = True
        try:
            async with deadline("Settling a message", CALL_SECONDS), guard_cancellation("Settling a message"):
                await call
        except (*CONNECTION_EXCEPTIONS, OperationTimeoutError) as error:
            log.info("A message could not be settled and will come again: %s", error)


@asynccontextmanager
async def _available(operation: str) -> AsyncIterator[None]:
    """Names the operation in the BrokerUnavailableError that replaces a lost or overdue broker's many errors."""
    try:
        async with cancellation_first(), guard_cancellation(operation.capitalize()):
            yield
    except (AuthenticationError, ProbableAuthenticationError) as error:
        sentence = "RabbitMQ refused the user or password in DOCTRAIN_BROKER_URL."
        OUTAGE.away(sentence)
        raise BrokerUnavailableError(sentence, retry_after_seconds=RETRY_SECONDS) from error
    except Exception as error:
        unexplained = type(error) is Exception  # which aiormq raises where a connection was closed and it does not know why
        if not unexplained and not isinstance(error, (*CONNECTION_EXCEPTIONS, OperationTimeoutError)):
            raise
        if (denial := _denial(error)) is not None:
            OUTAGE.away(denial)
            raise BrokerUnavailableError(denial, retry_after_seconds=RETRY_SECONDS) from error
        why = "its connection was closed" if unexplained else cause(error)
        OUTAGE.away(f"{operation}: {why}")
        raise BrokerUnavailableError(f"RabbitMQ did not answer ({operation}): {why}.", retry_after_seconds=RETRY_SECONDS) from error
    else:
        OUTAGE.back()


def _denial(error: Exception) -> str | None:
    """What RabbitMQ does not let our user do, in a sentence; None for what is no matter of its rights."""
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error) and "Connection.Close" in str(error):
        return (  # the library does not say why it closed, which it does for nothing else at this step
            "RabbitMQ does not let the user of DOCTRAIN_BROKER_URL into the virtual host that stands after its last /, or has none of that "
            f"name. {GRANT}"
        )
    if isinstance(error, ChannelAccessRefused):
        return f"RabbitMQ does not let the user of DOCTRAIN_BROKER_URL make and use the queues ({cause(error)}). {GRANT}"
    return None


async def _declare(channel: AbstractChannel, name: str) -> AbstractQueue:
    """The dead letters first, so that the shard queue never refers to what is not there."""
    dead = _dead(name)
    exchange = await channel.declare_exchange(dead, aio_pika.ExchangeType.FANOUT, durable=True)
    dead_queue = await channel.declare_queue(dead, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT})
    await dead_queue.bind(exchange)
    return await channel.declare_queue(
        name,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": dead,
            "x-dead-letter-strategy": "at-least-once",  # which needs the next line
            "x-overflow": "reject-publish",
        },
    )


def _number(version: str) -> tuple[int, ...]:
    """Major and minor number; what is no version counts as new."""
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if len(parts) == 2 and all(part.isdecimal() for part in parts) else OLDEST


def _dead(queue: str) -> str:
    return f"{queue}.dead"


def _encode(message: Message) -> aio_pika.Message:
    """As correlation id goes what is equal for every publication of one grant.

    The AMQP message id stays aiormq's own, unique one: it is how a returned message finds its publication.
    """
    return aio_pika.Message(
        message.body,
        headers=dict(message.headers),
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        correlation_id=message.message_id or None,
        app_id="doctrain",
    )
