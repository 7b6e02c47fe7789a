"""Consumers of the in-memory broker that lose their subscription, as where a network is cut to the broker alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.ports import Broker


def subscribed(broker: Broker) -> list[Any]:
    """The consumers of the shard queue that receive, in the order of their next deliveries."""
    assert isinstance(broker, MemoryBroker)
    return [consumer for consumer in broker._shards._consumers if not consumer.unsubscribed]


def unsubscribe(consumer: Any) -> Callable[[], None]:
    """Takes a consumer's subscription away: what it had goes back to the queue. What is answered subscribes it again."""
    queue, prefetch = consumer._queue, consumer._prefetch
    consumer.unsubscribed, consumer._prefetch = True, 0
    queue._ready.extendleft(delivery.message for delivery in reversed(consumer.take_back()))
    queue.dispatch()

    def subscribe() -> None:
        consumer.unsubscribed, consumer._prefetch = False, prefetch
        queue.dispatch()

    return subscribe
