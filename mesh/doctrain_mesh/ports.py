"""The two doors to the outside that can be swapped: the broker and the registry.

Each is a Protocol of a few domain verbs with two adapters, a real server's and an in-process stand-in, that pass the
same contract tests. Losing either costs time or sight, never correctness: Postgres is the truth (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

DEAD_REASON = "x-first-death-reason"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the shard queue.

    Args:
        body: the encoded ``ShardMessage``; the broker never looks inside.
        headers: text headers; carries the W3C trace context.
        message_id: the same for every publication of one grant (shard and dispatch number), for operators.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The shard queue as the broker knows it: messages that are ready, not those that consumers hold, and how many consumers there are."""

    ready: int
    consumers: int


class Delivery(Protocol):
    """A message lent to this consumer until it is acked, rejected, or the consumer is lost."""

    @property
    def message(self) -> Message: ...

    async def ack(self) -> None:
        """The broker may forget the message. On a lost channel this is a no-op: the broker delivers it again."""

    async def reject(self) -> None:
        """Moves the message to the dead-letter queue, never back to the shard queue."""


class Consumer(Protocol):
    """Deliveries of the shard queue with at most ``prefetch`` unacked; survives the broker's restarts by itself."""

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    async def __anext__(self) -> Delivery: ...

    @property
    def unsubscribed(self) -> bool:
        """Whether nothing can be delivered: from when the subscription was lost, or could not be made, until it is made (again)."""


class Broker(Protocol):
    """The transport of granted shards: a durable queue with push, back-pressure and manual acks, delivering at least once."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every message is confirmed. Raises BrokerUnavailableError when the outcome of any is unknown."""

    def consume(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        """Deliveries while the context is open; at its exit unacked messages go back to the queue."""

    def dead_letters(self, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        """Deliveries of the dead-letter queue; the header ``DEAD_REASON`` says why the broker put each aside."""

    async def faults(self) -> list[str]:
        """What of the server endangers work, each a sentence. Raises BrokerUnavailableError."""

    async def depth(self) -> QueueDepth:
        """How full the shard queue is, within seconds. Raises BrokerUnavailableError."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What a watcher saw: ``value`` is None when the key is gone."""

    key: str
    value: bytes | None


class Registration(Protocol):
    """A key that lives as long as its owner says so (a session: etcd ``concurrency.Session``)."""

    def update(self, value: bytes) -> None:
        """Replaces the value under the same lease, registering anew when the lease was lost; from any thread. Waits for no server."""

    async def close(self) -> None:
        """Removes the key at once."""


class Registry(Protocol):
    """Membership that operators read and discovery uses: keys under leases, kept alive and put back by themselves."""

    async def register(self, key: str, value: bytes, ttl_seconds: int) -> Registration:
        """Puts the key and keeps it alive, however busy this loop is; returns once it is there, or after a few seconds without a server.

        Losing the server later is not an error of the caller's: the key is put back when the server is.
        """

    async def list(self, prefix: str) -> dict[str, bytes]: ...

    def watch(self, prefix: str) -> AsyncGenerator[Change, None]:
        """The present keys first, then every change; lists again after a gap, telling what vanished meanwhile.

        Close it (``contextlib.aclosing``) unless it is read until cancelled.
        """

    async def close(self) -> None: ...
