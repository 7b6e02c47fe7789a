"""What the leader does, round after round: it grants shards and, once a poll, sweeps.

A sweep publishes overdue grants again, takes lost sessions back, gives trainings their turns, balances and resizes. The loop is woken by
whoever frees a slot or loads work. However much there is to grant, a sweep that is due comes first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import cast

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Blame
from doctrain_coordinator.core.observation import Lapse, Observer, Sighting
from doctrain_coordinator.core.overdue import Overdue
from doctrain_coordinator.core.received_service import ReceivedService
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.dispatch import messages
from doctrain_coordinator.dispatch.balancing import Balancing
from doctrain_coordinator.dispatch.grants import Grants, granted_shard
from doctrain_coordinator.dispatch.preemption import Preemptions
from doctrain_coordinator.dispatch.publisher import Publisher
from doctrain_coordinator.dispatch.resizing import Resizings
from doctrain_coordinator.dispatch.training_turns import TrainingTurns
from doctrain_coordinator.tracking.lost_sessions import LostSessions, Spawn
from doctrain_coordinator.tracking.takeback import Guard
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Connection, statements
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState, ShardState)
POLL_SECONDS = 1.0
FORGET_SECONDS = 600.0
MOST_FORGOTTEN = 1_000
ROUND_SECONDS = 20.0
# Delays that a round ends.
MOST_DELAYS = 1_000
# Before more delays are ended, which may be over already.
DELAYS_GAP_SECONDS = 0.05


class Dispatcher:
    """The leader's loop. ``lane_slots`` is the most documents at once within a shard."""

    def __init__(
        self, changes: Changes, publisher: Publisher, lost: LostSessions, spawn: Spawn, *, lease_seconds: float, lane_slots: int
    ) -> None:
        self._changes, self._publisher = changes, publisher
        self._lapses = Lapses(lost, spawn)
        self._lease, self._lane_slots = lease_seconds, lane_slots

    async def lead(self, connection: Connection) -> None:
        """Leads on this connection, the one that holds the lock, until it is lost or the task is cancelled.

        Raises StoreUnavailableError, OperationTimeoutError.
        """
        term = Term(connection, self._publisher, self._lapses, lease_seconds=self._lease, lane_slots=self._lane_slots)
        while True:
            async with deadline("The leader's round", ROUND_SECONDS), postgres.available("leading", connection):
                pause = await term.round()
            await self._changes.wait_for_work(pause)


class Lapses:
    """Takes sessions back beside the leader's rounds, which may not wait for others' locks, each once at a time."""

    def __init__(self, lost: LostSessions, spawn: Spawn) -> None:
        self._lost, self._spawn = lost, spawn
        self._under_way: set[Sighting] = set()

    def take_back(self, lapses: Sequence[Lapse]) -> None:
        """Starts what is not under way already; what fails is asked for again by the round after."""
        for lapse in lapses:
            if lapse.sighting not in self._under_way:
                self._under_way.add(lapse.sighting)
                self._spawn(self._take_back(lapse))

    async def _take_back(self, lapse: Lapse) -> None:
        seen = lapse.sighting
        blame = Blame.CHARGED if lapse.charged else Blame.NOBODY
        try:
            await self._lost.take_back(Guard(seen.session, seen.beat, seen.attached), blame=blame, why="its beat stood still")
        except StoreUnavailableError as error:
            log.warning("Session %d is not taken back yet: %s", seen.session, error)
        finally:
            self._under_way.discard(seen)


class Term:
    """One spell of leading: what the leader remembers ends with it."""

    def __init__(self, connection: Connection, publisher: Publisher, lapses: Lapses, *, lease_seconds: float, lane_slots: int) -> None:
        self._c, self._publisher, self._lapses = connection, publisher, lapses
        self._overdue = Overdue()
        self._observer = Observer(lease_seconds, max_gap=2.5 * POLL_SECONDS)
        service = ReceivedService()
        self._grants = Grants(connection, publisher, service, lane_slots)
        self._preemptions = Preemptions(connection, service, lane_slots)
        self._training_turns, self._balancing = TrainingTurns(connection), Balancing(connection)
        self._resizings = Resizings(connection, lane_slots)
        self._swept = self._forgot = float("-inf")

    async def round(self) -> float:
        """Grants what can be granted and, once a poll, sweeps; answers how long to wait for the next round."""
        more = await self._grant_all()
        delayed = await self._next_delay()
        if delayed is not None and delayed <= 0 and not more:
            await self._c.execute(SQL["end_delays"], MOST_DELAYS)
            more, delayed = await self._grant_all(), await self._next_delay()
        if self._grants.crowded_lanes and await self._preemptions.make(self._grants.crowded_lanes):
            more = await self._grant_all()
        if self._sweep_is_due():
            self._swept = time.monotonic()
            await self._republish()
            await self._take_back()
            await self._training_turns.make()
            await self._balance()
            await self._resizings.make()
            await self._forget()
        if more:
            return 0.0
        until_sweep = max(0.0, self._swept + POLL_SECONDS - time.monotonic())
        return until_sweep if delayed is None else min(until_sweep, max(delayed, DELAYS_GAP_SECONDS))

    def _sweep_is_due(self) -> bool:
        return time.monotonic() - self._swept >= POLL_SECONDS

    async def _grant_all(self) -> bool:
        """Grants what can be granted; answers whether more may be, where shards end as fast as they are granted and a sweep is due."""
        while True:
            made = await self._grants.make()
            now = time.monotonic()
            for shard, number in made.grants:
                self._overdue.granted(now, shard, number)
            self._preemptions.granted(made.grants)
            if not made.more or self._sweep_is_due():
                return made.more

    async def _next_delay(self) -> float | None:
        """In how many seconds the next delay ends, negative if one is over, None without any."""
        return cast("float | None", await self._c.fetchval(SQL["next_delay_ends_in"]))

    async def _republish(self) -> None:
        rows = {(row["id"], row["number"]): row for row in await self._c.fetch(SQL["dispatched"])}
        self._preemptions.forget_others(rows)
        due = self._overdue.due(time.monotonic(), rows)
        metrics.REPUBLISHED.add(len(due))
        if due:
            log.info("%d granted shards were not begun in time and are published again.", len(due))
        self._publisher.submit((key[0], messages.of_grant(granted_shard(rows[key]))) for key in due)

    async def _take_back(self) -> None:
        live = [Sighting(row["id"], row["beat"], row["attached"]) for row in await self._c.fetch(SQL["live_sessions"])]
        self._lapses.take_back(self._observer.observe(time.monotonic(), live))

    async def _balance(self) -> None:
        if not self._grants.crowded_lanes:
            await self._balancing.make()

    async def _forget(self) -> None:
        now = time.monotonic()
        if now - self._forgot >= FORGET_SECONDS:
            self._forgot = now
            await self._c.execute(SQL["forget_sessions"], MOST_FORGOTTEN)
