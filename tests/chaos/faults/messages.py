"""What does not belong there, or is there twice, in the shard queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aio_pika
import asyncpg

from chaos.away import AWAY
from chaos.faults.fault import Fault
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage

_IN_FLIGHT = "select id, number, first, count, width from shard where state in (1, 2) order by random() limit 12"
PUBLISH_SECONDS = 10


class _Published(Fault):
    async def publish(self, bodies: Sequence[bytes]) -> None:
        """Straight into the queue, past the network; given up when the broker is away at the moment."""
        async with asyncio.timeout(PUBLISH_SECONDS):
            connection = await aio_pika.connect(self.world.rabbitmq.url)
            async with connection, connection.channel() as channel:
                for body in bodies:
                    await channel.default_exchange.publish(aio_pika.Message(body), routing_key=self.world.queue)

    async def insist(self, make: Callable[[], Awaitable[str]]) -> str:
        """Until it went well: other faults may be under way."""
        while True:
            try:
                return await make()
            except (*AWAY, aio_pika.exceptions.AMQPError):
                await asyncio.sleep(0.5)


class Garbage(_Published):
    """Messages that are no shard's, and shards that do not exist."""

    name = "garbage in the shard queue"

    async def inject(self) -> str:
        return await self.insist(self._inject)

    async def _inject(self) -> str:
        bodies = [self.draw.randbytes(self.draw.randint(0, 2000)) for _ in range(8)] + [b"", b"{}"]
        foreign = [ShardMessage(shard=self.draw.randint(10**9, 10**10), number=1).SerializeToString() for _ in range(4)]
        await self.publish(bodies + foreign)
        return f"{len(bodies)} unreadable, {len(foreign)} of no shard"


NEVER_GRANTED = 1_000
"""So far ahead of a shard's number that no grant of the run has it: an ack of the next number could be the next grant's."""


class Duplicates(_Published):
    """Shards in flight are published again several times, and under numbers that are past or to come."""

    name = "duplicated messages"

    async def inject(self) -> str:
        return await self.insist(self._inject)

    async def _inject(self) -> str:
        connection = await asyncpg.connect(self.world.database, timeout=5)
        try:
            rows = await connection.fetch(_IN_FLIGHT, timeout=5)
        finally:
            connection.terminate()
        if not rows:
            raise TimeoutError("Nothing is in flight.")
        messages = []
        for row in rows:
            for number in (row["number"], row["number"], row["number"], row["number"] - 1, row["number"] + NEVER_GRANTED):
                if number > 0:
                    messages.append(ShardMessage(shard=row["id"], number=number, first=row["first"], count=row["count"]))
        self.draw.shuffle(messages)
        await self.publish([message.SerializeToString() for message in messages])
        return f"{len(messages)} of {len(rows)} shards"


FAULTS = (Garbage, Duplicates)
