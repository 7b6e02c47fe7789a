"""The shards that a worker has: delivered, asked for, run, and acked only when Postgres no longer needs the message.

A grant that is overdue is published again, so several copies of one message may come. They all stand for the same grant and
are worth the same: of those that came, the newest is kept unacked until the hold is over, the ones before it are acked as
it comes, else copies of one held shard would fill the prefetch and leave lanes idle. Nothing is lost with a channel: its
deliveries come in order, so the newest is on the channel that was opened last. Is that one lost, the broker still has the
newest copy and delivers it again, here (where it takes the place of the dead one) or to another worker (which is told
NOT_YOURS while the shard is held here). An ack on a lost channel does nothing, and an ack that is lost with one only means
another copy.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial

from doctrain_mesh.ports import Delivery
from doctrain_mesh.supervise import deadline
from doctrain_worker import metrics
from doctrain_worker.shards.orders import End
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.shards.shard import ShardRun
from doctrain_worker.shards.spans import shard_span
from doctrain_worker.tracking.exchange import Begun, HeartbeatAnswer, Key, NotBegun, Order
from doctrain_worker.tracking.messages import delivered
from doctrain_worker.tracking.session import Session
from doctrain_worker.tracking.tracker import SessionLostError

log = logging.getLogger(__name__)
DRAIN_REASON = "the worker goes away"
ENDED_SECONDS = 10.0
"""How long what was killed may take to be gone; beyond that the worker ends, and its guardian with it."""


@dataclass(slots=True)
class _Hold:
    key: Key
    delivery: Delivery | None
    has_lane: bool = True
    begun: bool = False
    run: ShardRun | None = None
    task: asyncio.Task[None] = field(init=False)


class Holds:
    """The shards that a worker holds; ``draining`` once it takes no more."""

    def __init__(self, setup: ShardSetup, session: Session, lanes: int, worker: str, trace_share: float) -> None:
        self._setup, self._session, self._worker, self._trace_share = setup, session, worker, trace_share
        self._free_lanes = asyncio.Semaphore(lanes)
        self._holds: dict[Key, _Hold] = {}
        self.draining = False

    def named(self) -> dict[Key, int]:
        """What is held or asked for, each with the last resize that is in force, 0 for none.

        Of several grants of one shard, the newest that the tracker gave to this worker.
        """
        named: dict[int, _Hold] = {}
        for hold in self._holds.values():
            other = named.get(hold.key[0])
            if other is None or (hold.begun, hold.key) > (other.begun, other.key):
                named[hold.key[0]] = hold
        return {hold.key: 0 if hold.run is None else hold.run.resize_in_force() for hold in named.values()}

    @property
    def lanes_in_use(self) -> int:
        """Shards that run and have documents left to start."""
        return sum(hold.has_lane and hold.run is not None for hold in self._holds.values())

    @property
    def slots_in_use(self) -> int:
        """Documents at once that they may run."""
        return sum(hold.run.width for hold in self._holds.values() if hold.run is not None)

    async def take(self, delivery: Delivery, group: asyncio.TaskGroup) -> None:
        """Takes a delivery in; returns once there is a lane for the next one."""
        key = delivered(delivery.message.body)
        if key is None:
            metrics.DELIVERIES.add(1, "unreadable")
            log.warning("A message in the shard queue is not a shard's; it goes to the dead letters.")
            await delivery.reject()
            return
        known = self._holds.get(key)
        metrics.DELIVERIES.add(1, "new" if known is None else "again")
        if known is not None:
            older, known.delivery = known.delivery, delivery
            if older is not None:
                await older.ack()
            return
        if self.draining:
            return
        await self._free_lanes.acquire()
        hold = self._holds[key] = _Hold(key, delivery)
        hold.task = group.create_task(self._keep(hold), name=f"shard {key}")

    async def drain(self, seconds: float) -> None:
        """Takes nothing more, lets what runs end, hands the rest back; what does not end in time is killed. Then nothing is held."""
        self.draining = True
        tasks = [hold.task for hold in self._holds.values()]
        for hold in self._holds.values():
            if hold.run is not None:
                hold.run.hand_back(DRAIN_REASON)
            else:
                hold.task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        if late:
            log.warning("%d shards did not end within %g s and are stopped.", len(late), seconds)
            for task in late:
                task.cancel()
            async with deadline("Ending the shards that were stopped", ENDED_SECONDS):
                await asyncio.wait(late)

    def lost(self) -> None:
        """The session is over: nothing of any shard may run on."""
        for hold in self._holds.values():
            if hold.run is not None:
                hold.run.interrupt(End.LOST)

    def orders(self, answer: HeartbeatAnswer) -> None:
        """Obeys what a heartbeat's answer says."""
        for key in answer.not_yours:
            hold = self._holds.get(key)
            if hold is not None and hold.run is not None:
                hold.run.interrupt(End.STALE)
        for key, order in answer.orders:
            hold = self._holds.get(key)
            if hold is None or hold.run is None:
                continue
            if order is Order.YIELD:
                hold.run.hand_back("the tracker asked for it")
            else:
                hold.run.interrupt(End.STOPPED if order is Order.STOP else End.CUT)
        for key, resize in answer.resizes:
            hold = self._holds.get(key)
            if hold is not None and hold.run is not None:
                hold.run.resize(resize)
        for hold in self._holds.values():
            if hold.run is not None:
                hold.run.beat()

    async def ended(self) -> None:
        """Returns once nothing runs in this process of what was interrupted; raises OperationTimeoutError."""
        async with deadline("Ending the shards of a lost session", ENDED_SECONDS):
            for run in [hold.run for hold in self._holds.values() if hold.run is not None]:
                await run.ended.wait()

    async def _keep(self, hold: _Hold) -> None:
        try:
            while not (self.draining or await self._attempt(hold) or self.draining):  # it may begin to drain meanwhile
                await self._session.opened.wait()
        finally:
            del self._holds[hold.key]
            self._leave_lane(hold)

    def _leave_lane(self, hold: _Hold) -> None:
        """The next shard is asked for while the last documents of this one run and their answers are waited for."""
        if hold.has_lane:
            hold.has_lane = False
            self._free_lanes.release()

    async def _outlive_older(self, key: Key) -> None:
        """The tracker gave a shard away under this number, so earlier holds of it here are over: they end before it may run.

        Not before: anybody who may write to the queue can make up a number.
        """
        older = [hold for hold in self._holds.values() if hold.key[0] == key[0] and hold.key[1] < key[1]]
        for hold in older:
            if hold.run is not None:
                hold.run.interrupt(End.STALE)
        if older:
            await asyncio.wait([hold.task for hold in older])

    def _outlived(self, key: Key) -> bool:
        """Whether the tracker gave the shard to this worker under a later number."""
        return any(hold.begun and hold.key[0] == key[0] and hold.key[1] > key[1] for hold in self._holds.values())

    async def _attempt(self, hold: _Hold) -> bool:
        """Asks for the shard and runs it; False when the session was lost and it must be asked for again."""
        hold.begun = False
        try:
            answer = await self._setup.tracker.begin(hold.key)
            log.debug("Shard %d (%d) was asked for: %s.", *hold.key, answer.name if isinstance(answer, NotBegun) else "BEGUN")
            if answer is NotBegun.SESSION_LOST:
                self._session.lost()
                return False
            if isinstance(answer, Begun) and not await self._run(hold, answer):
                return False
        except SessionLostError:
            return False
        while hold.delivery is not None:  # a copy may come while one is acked
            newest, hold.delivery = hold.delivery, None
            await newest.ack()
        return True

    async def _run(self, hold: _Hold, begun: Begun) -> bool:
        """Runs a shard that was begun; False when the session it was begun in is over. Raises SessionLostError."""
        session, hold.begun = self._session.id, True
        await self._outlive_older(hold.key)
        if not self._session.opened.is_set() or self._session.id != session:
            return False
        if self._outlived(hold.key):
            return True
        assert hold.delivery is not None
        traceparent = hold.delivery.message.headers.get("traceparent", "") or begun.traceparent
        with shard_span(traceparent, hold.key, self._worker, self._trace_share) as spans:
            hold.run = ShardRun(self._setup, begun, spans, session, partial(self._leave_lane, hold))
            try:
                if self.draining:
                    hold.run.hand_back(DRAIN_REASON)
                end = await hold.run.run()
                log.debug("Shard %d (%d) ended here: %s.", *hold.key, end.name)
            finally:
                hold.run = None
        if end is End.LOST:
            self._session.children_stopped()
        return end is not End.LOST
