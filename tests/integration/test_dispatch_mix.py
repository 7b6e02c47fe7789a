"""Two coordinators, both leading; workers finish, hand back, forget, die and are cancelled, as a seed has it."""

from __future__ import annotations

import asyncio
import random

import pytest

from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tracking.sessions import Attachment
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.ports import Consumer
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from testkit.core import Core, core, results
from testkit.waiting import wait_until

DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


class Mix:
    """Four workers in two coordinators' hands."""

    def __init__(self, sides: tuple[Core, Core], seed: int) -> None:
        self.sides, self.draw = sides, random.Random(seed)
        self.slots: dict[int, int] = {}
        self.attachments: list[Attachment] = []
        self.trainings: list[int] = []
        self.ended: set[int] = set()

    async def begin(self) -> None:
        left = self.sides[0]
        self.slots = {await left.tenant("free"): 5, await left.tenant("paid", "paid"): 30}
        self.attachments = [await self.sides[n % 2].open(f"w{n}", lanes=6) for n in range(4)]
        self.trainings = [await left.training(tenant, f"t{tenant}-{n}", 80) for tenant in self.slots for n in range(3)]

    async def consume(self, consumer: Consumer) -> None:
        async with asyncio.TaskGroup() as lanes:
            async for delivery in consumer:
                lanes.create_task(self.run(ShardMessage.FromString(delivery.message.body)))
                await delivery.ack()

    async def run(self, granted: ShardMessage) -> None:
        """One delivery, by whichever worker and coordinator."""
        place, side, key = self.draw.randrange(4), self.draw.choice(self.sides), (granted.shard, granted.number)

        async def answered() -> bool:
            return await side.begin(self.attachments[place].session, *key) is not Begun.SESSION_LOST

        await wait_until(answered)  # while a session's successor is being opened, a worker keeps its messages
        row = await side.row("shard", granted.shard)
        attachment = self.attachments[place]
        if (row["holder"], row["number"]) != (attachment.session, granted.number):
            return
        await self.limits_hold()
        end = granted.first + granted.count
        for start in range(granted.first, end, 5):
            block = results(start, min(5, end - start), running=[start])
            recorded, _, _ = await side.report(attachment.session, *key, block)
            if not recorded:
                await side.handbacks.release_stopped(attachment.session, [key])
            elif not await self.goes_wrong(side, place, attachment, granted, row["training"]):
                continue
            return

    async def goes_wrong(self, side: Core, place: int, attachment: Attachment, granted: ShardMessage, training: int) -> bool:
        chance = self.draw.random()
        if chance < 0.05:
            if attachment.session in self.ended:  # by another lane of that worker
                return True
            self.ended.add(attachment.session)
            charged = self.draw.random() < 0.5
            self.attachments[place] = await side.open(f"w{place}", predecessor=attachment.session, charged=charged)
        elif chance < 0.15:
            await side.handbacks.release_stopped(attachment.session, [(granted.shard, granted.number)])
        elif chance < 0.17 and granted.training_task_id.endswith("-2"):
            await side.cancel(training)
            return False
        return chance < 0.15

    async def limits_hold(self) -> None:
        for tenant, slots in self.slots.items():
            assert await self.sides[0].used(tenant) <= slots

    async def all_ended(self) -> bool:
        rows = [await self.sides[0].row("training", training) for training in self.trainings]
        return all(row["state"] >= TrainingState.COMPLETED for row in rows)


@pytest.mark.parametrize("seed", [1, 2])
async def test_everything_at_once_ends_well_and_never_deadlocks(postgres: str, seed: int) -> None:
    broker = MemoryBroker()
    async with core(postgres, broker=broker, lease_seconds=60) as left, core(postgres, broker=broker, lease_seconds=60) as right:
        mix = Mix((left, right), seed)
        await mix.begin()
        connections = [await mesh_postgres.connect(postgres) for _ in mix.sides]
        async with asyncio.TaskGroup() as group, broker.consume(100) as consumer:
            tasks = [group.create_task(side.dispatcher.lead(connection)) for side, connection in zip(mix.sides, connections, strict=True)]
            tasks.append(group.create_task(mix.consume(consumer)))
            await wait_until(mix.all_ended, timeout=40)
            for task in tasks:
                task.cancel()
        for connection in connections:
            await mesh_postgres.close_connection(connection)
        for training in mix.trainings:
            await left.sums_hold(training)
        for attachment in mix.attachments:
            await left.sessions.leave(attachment.session)
        assert [await left.used(tenant) for tenant in mix.slots] == [0, 0]
        assert await left.pool.fetchval(DEADLOCKS) == 0
