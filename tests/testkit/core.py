"""The coordinator's inner half over one database, driven as the tracker drives it; no gRPC between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.blocks import Block, Failure
from doctrain_coordinator.core.charging import Budgets
from doctrain_coordinator.core.ledger import Begun, Recorded
from doctrain_coordinator.dispatch.dispatcher import Dispatcher
from doctrain_coordinator.dispatch.leadership import Leadership
from doctrain_coordinator.dispatch.publisher import Publisher
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import ROLE_TENANT, Identity
from doctrain_coordinator.tenants.provisioning import Tenants
from doctrain_coordinator.tracking.commits import Committer
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.heartbeats import Beat, Heartbeats, SessionStanding
from doctrain_coordinator.tracking.items import Begin, BegunShard, Report
from doctrain_coordinator.tracking.lost_sessions import LostSessions
from doctrain_coordinator.tracking.sessions import Attachment, Opening, Sessions
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.tracking.takeback import TakeBacks
from doctrain_coordinator.tracking.trials import Trials
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.control import Control
from doctrain_mesh import postgres
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.ports import Consumer
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage

LEASE_SECONDS = 10.0
ANSWER_SECONDS = 10.0
SECRETS: dict[tuple[str, int], bytes] = {}
"""Of the sessions that tests opened, by database and key: several coordinators may share one."""
NOW_MS = int(time.time()) * 1000


class Core:
    """One coordinator without its services. ``leader`` and the loops run only when a test starts them."""

    def __init__(self, url: str, pool: postgres.Pool, broker: MemoryBroker, lease_seconds: float) -> None:
        self.url, self.pool, self.broker = url, pool, broker
        database = Database(url)
        self.changes = Changes(database)
        self.loops: asyncio.TaskGroup | None = None
        self.asides: set[asyncio.Task[None]] = set()
        self.locks = ShardLocks(pool)
        self.takebacks = TakeBacks(self.locks, self.changes, Budgets(before_trial=2, on_trial=3))
        self.handbacks = HandBacks(self.locks, self.changes)
        self.lost = LostSessions(pool, self.takebacks, self.spawn, before_trial=2)
        self.sessions = Sessions(pool, self.lost, self.changes, lease_seconds=lease_seconds)
        self.trials = Trials(pool)
        self.control = Control(self.locks, self.changes)
        self.heartbeats = Heartbeats(pool, self.handbacks)
        self.committer = Committer(database, self.changes)
        self.publisher = Publisher(broker)
        self.dispatcher = Dispatcher(self.changes, self.publisher, self.lost, self.spawn, lease_seconds=lease_seconds, lane_slots=5)
        self.leadership = Leadership(database, self.dispatcher.lead)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self.loops is not None, "made by ``core``, it runs what it starts"
        task = self.loops.create_task(work)
        self.asides.add(task)
        task.add_done_callback(self.asides.discard)

    # What tenants do

    async def tenant(self, name: str, plan: str = "free") -> int:
        await Tenants(self.pool).create(name, plan, 1.0)
        return int(await self.pool.fetchval("select id from tenant where name = $1", name))

    async def training(self, tenant: int, task_id: str, count: int, *, sealed: bool = True) -> int:
        """Numbered documents in shards of ten."""
        new = storing.NewTraining(tenant, task_id, b"", "", size=1, uri_template="s3://b/{n}")
        training = await self.create(new, Chunk(count, 0, last=sealed))
        self.changes.work()
        return training

    async def create(self, new: storing.NewTraining, first: Chunk) -> int:
        """As a call of its tenant stores it."""
        return await storing.create(self.pool, new, first, Deed(Identity(ROLE_TENANT, new.tenant), "StartTraining", ""))

    async def cancel(self, training: int) -> None:
        await self.control.cancel(training)

    # What workers say

    async def open(
        self, worker: str, *, lanes: int = 6, predecessor: int = 0, charged: bool = False, secret: bytes | None = None
    ) -> Attachment:
        shown = self._secret(predecessor) if secret is None else secret
        attachment = await self.sessions.open(Opening(worker, lanes, "test", 0, predecessor, charged, shown))
        assert attachment is not None
        SECRETS[self.url, attachment.session] = attachment.secret
        return attachment

    async def attach(self, worker: str, session: int, secret: bytes | None = None) -> Attachment | None:
        shown = self._secret(session) if secret is None else secret
        return await self.sessions.open(Opening(worker, 6, "test", session, 0, False, shown))

    def _secret(self, session: int) -> bytes:
        return SECRETS.get((self.url, session), b"")

    async def stream_ends(self, attachment: Attachment) -> None:
        """A stream ends without a goodbye, right after its worker said something."""
        attachment.heard = time.monotonic()
        await self.sessions.closed(attachment)

    async def begin(self, session: int, shard: int, number: int) -> Begun:
        answers: asyncio.Future[Begun] = asyncio.get_running_loop().create_future()

        def answer(outcome: Begun, begun: BegunShard | None) -> None:
            assert (outcome is Begun.BEGUN) == (begun is not None)
            answers.set_result(outcome)

        self.committer.submit([Begin(session, shard, number, answer)])
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answers

    async def report(self, session: int, shard: int, number: int, block: Block) -> tuple[bool, bool, list[int]]:
        """(recorded, shard done, invalid ordinals)"""
        return (await self.reports([(session, shard, number, block)]))[0]

    async def reports(self, several: Iterable[tuple[int, int, int, Block]]) -> list[tuple[bool, bool, list[int]]]:
        """Several blocks, submitted at once."""
        loop = asyncio.get_running_loop()
        futures, items = [], []
        for session, shard, number, block in several:
            future: asyncio.Future[tuple[bool, bool, list[int]]] = loop.create_future()

            def answer(outcome: Recorded, done: bool, invalid: Any, future: asyncio.Future[Any] = future) -> None:
                future.set_result((outcome is Recorded.RECORDED, done, list(invalid)))

            futures.append(future)
            items.append(Report(session, shard, number, block, answer, urgent=True))
        self.committer.submit(items)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.gather(*futures)

    async def beat(
        self,
        attachment: Attachment,
        *held: tuple[int, int],
        asked: Iterable[int] = (),
        draining: bool = False,
        unsubscribed: bool = False,
        resize: int = 0,
    ) -> SessionStanding:
        answers: asyncio.Future[SessionStanding] = asyncio.get_running_loop().create_future()
        names = set(asked)
        named = {shard: (number, resize) for shard, number in held}
        said = draining, unsubscribed
        beat = Beat(attachment.session, attachment.attached, *said, named, lambda: names, answers.set_result, lambda: False)
        self.heartbeats.submit(beat)
        async with asyncio.timeout(ANSWER_SECONDS):
            standing = await answers
        if standing.beat is not None:
            attachment.beaten(standing.beat)
        return standing

    # What a test looks at

    async def row(self, table: str, key: int) -> dict[str, Any]:
        return dict(await self.pool.fetchrow(f"select * from {table} where id = $1", key) or {})

    async def shards(self, training: int) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.pool.fetch("select * from shard where training = $1 order by first", training)]

    async def used(self, tenant: int) -> int:
        return int(await self.pool.fetchval("select coalesce(sum(width), 0) from shard where tenant = $1 and state in (1, 2, 3)", tenant))

    async def grant(self, shard: int, width: int = 5) -> int:
        """Grants by hand where no leader runs; answers the dispatch number."""
        number = await self.pool.fetchval(
            "update shard set state = 1, number = number + 1, width = $2 where id = $1 and state = 0 returning number", shard, width
        )
        assert number is not None
        return int(number)

    async def running_shard(self, session: int, training: int, place: int = 0, width: int = 5) -> tuple[int, int]:
        """Grants and begins one shard of the training; answers it with its number."""
        shard = (await self.shards(training))[place]["id"]
        number = await self.grant(shard, width)
        assert await self.begin(session, shard, number) is Begun.BEGUN
        return shard, number

    @asynccontextmanager
    async def writing_index_rows(self, shard: int) -> AsyncIterator[None]:
        """A worker that is frozen while it writes index rows of the shard: it holds the fence as long as this is open."""
        writer = await postgres.connect(self.url)
        try:
            async with writer.transaction():
                await writer.execute("select 1 from shard where id = $1 for key share", shard)
                yield
        finally:
            await postgres.close_connection(writer)

    async def has_a_wait_for_a_lock(self) -> bool:
        """Whether anybody waits for a lock in this database."""
        query = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())"
        return bool(await self.pool.fetchval(query))

    async def sums_hold(self, training: int) -> None:
        """Counters are what the rows say."""
        row = await self.row("training", training)
        states = [found["state"] for found in await self.pool.fetch("select state from document where training = $1", training)]
        assert (row["completed"], row["failed"]) == (states.count(1), states.count(2))
        for shard in await self.shards(training):
            still_open = await self.pool.fetchval(
                "select count(*) from document where training = $1 and ordinal between $2 and $3 and state = 0",
                training,
                shard["first"],
                shard["first"] + shard["count"] - 1,
            )
            assert shard["open"] == still_open
            assert shard["version"] <= row["version"]


def results(
    first: int, count: int, *, failed: Iterable[Failure] = (), running: Iterable[int] = (), tries: Iterable[tuple[int, int]] = ()
) -> Block:
    """A block of results of ``count`` documents in a row."""
    return Block(first, NOW_MS, list(range(count)), [1] * count, list(failed), list(running), list(tries))


async def message(consumer: Consumer, seconds: float = 10.0) -> ShardMessage:
    """The next shard that the broker delivers; acked."""
    async with asyncio.timeout(seconds):
        delivery = await anext(consumer)
    await delivery.ack()
    return ShardMessage.FromString(delivery.message.body)


async def messages(consumer: Consumer, count: int) -> list[ShardMessage]:
    """The next so many that the broker delivers."""
    return [await message(consumer, 20) for _ in range(count)]


async def drained(consumer: Consumer, quiet_seconds: float = 0.4) -> list[ShardMessage]:
    """What the broker delivers until it is quiet for that long."""
    found: list[ShardMessage] = []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            found.append(await message(consumer, quiet_seconds))
        except TimeoutError:
            return found
    raise AssertionError("the broker is never quiet")


@asynccontextmanager
async def core(
    url: str, *, broker: MemoryBroker | None = None, leads: bool = False, lease_seconds: float = LEASE_SECONDS
) -> AsyncIterator[Core]:
    """A coordinator's inner half with its loops; several over one ``broker`` and database are several coordinators."""
    pool = await postgres.create_pool(url, size=8, name="test", frozen_seconds=60.0)
    made = Core(url, pool, broker or MemoryBroker(), lease_seconds)
    loops = [made.committer.run(), made.heartbeats.run(), made.publisher.run(), made.changes.run()]
    if leads:
        loops.append(made.leadership.run())
    try:
        async with asyncio.TaskGroup() as group:
            made.loops = group
            tasks = [group.create_task(loop) for loop in loops]
            try:
                yield made
            finally:
                for task in (*tasks, *made.asides):
                    task.cancel()
    finally:
        await postgres.close_pool(pool)
