"""What the leader does: grants shards, resizes those in flight, publishes overdue grants again, takes lost sessions back.

Grants are decided from a snapshot by a pure function and then made under the tenants' locks, where they are counted
again; commit first, publish after. The loop is woken by whoever frees a slot or loads work, with a slow poll behind.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core import admission
from doctrain_coordinator.core.charging import Blame
from doctrain_coordinator.core.observation import Lapse, Observer, Sighting
from doctrain_coordinator.core.overdue import Overdue
from doctrain_coordinator.core.received_service import ReceivedService
from doctrain_coordinator.core.states import SessionState, ShardState, TrainingState
from doctrain_coordinator.dispatch import messages
from doctrain_coordinator.dispatch.balancing import Balancing
from doctrain_coordinator.dispatch.preemption import Preemptions
from doctrain_coordinator.dispatch.publisher import Publisher
from doctrain_coordinator.dispatch.resizing import Resizings
from doctrain_coordinator.dispatch.training_turns import TrainingTurns
from doctrain_coordinator.tracking.lost_sessions import LostSessions, Spawn
from doctrain_coordinator.tracking.takeback import Guard
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Connection, Record, statements
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState, ShardState, TrainingState)
POLL_SECONDS = 1.0
FORGET_SECONDS = 600.0
MOST_FORGOTTEN = 1_000
ROUND_SECONDS = 20.0
MOST_GRANTS = 256
# Of a tenant's trainings that have nothing in flight, a round looks at that many, the oldest.
MOST_IDLE = 64
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
        self._c, self._publisher, self._lapses, self._lane_slots = connection, publisher, lapses, lane_slots
        self._overdue = Overdue()
        self._observer = Observer(lease_seconds, max_gap=2.5 * POLL_SECONDS)
        self._service = ReceivedService()
        self._preemptions = Preemptions(connection, self._service, lane_slots)
        self._training_turns, self._balancing = TrainingTurns(connection), Balancing(connection)
        self._resizings = Resizings(connection, lane_slots)
        self._crowded_lanes = 0
        self._swept = self._forgot = float("-inf")

    async def round(self) -> float:
        """Grants what can be granted and, once a poll, sweeps; answers how long to wait for the next round."""
        delayed = await self._grant_all()
        if delayed is not None and delayed <= 0:
            await self._c.execute(SQL["end_delays"], MOST_DELAYS)
            delayed = await self._grant_all()
        if self._crowded_lanes and await self._preemptions.make(self._crowded_lanes):
            delayed = await self._grant_all()
        now = time.monotonic()
        if now - self._swept >= POLL_SECONDS:
            self._swept = now
            await self._republish()
            await self._take_back()
            await self._training_turns.make()
            await self._balance()
            await self._resizings.make()
            await self._forget(now)
        until_sweep = max(0.0, self._swept + POLL_SECONDS - time.monotonic())
        return until_sweep if delayed is None else min(until_sweep, max(delayed, DELAYS_GAP_SECONDS))

    async def _grant_all(self) -> float | None:
        """Grants what can be granted; answers in how many seconds the next delay ends, negative if one is over, None without any."""
        while await self._grant():
            pass
        return cast("float | None", await self._c.fetchval(SQL["next_delay_ends_in"]))

    async def _grant(self) -> bool:
        """Makes one transaction's grants; answers whether there may be more."""
        in_flight = await self._c.fetch(SQL["in_flight"])
        fleet = await self._c.fetchrow(SQL["room"])
        assert fleet is not None
        lanes, to_start = fleet["lanes"], sum(row["to_start"] for row in in_flight) - fleet["to_start_aside"]
        used = _used(in_flight)
        self._service.observe(time.monotonic(), used)
        self._crowded_lanes = lanes if lanes <= to_start else 0
        room = min(admission.room_for(lanes, to_start, self._publisher.queued), MOST_GRANTS)
        if room <= 0:
            return False
        runnable = await self._c.fetch(SQL["runnable"], room, MOST_IDLE)
        if not runnable:
            return False
        with_work = {row["tenant"] for row in (*in_flight, *runnable)}
        self._service.attend(with_work)
        self._service.forget_others(with_work)
        plans = await self._c.fetch(SQL["plans_of"], list({row["tenant"] for row in runnable}))
        places = 2 * lanes * self._lane_slots - (used.total() - fleet["used_aside"])
        grants = admission.choose(self._claims(in_flight, used, runnable, plans), room, places, self._lane_slots)
        if not grants:
            return False
        made = await self._make(grants)
        return bool(made) and (len(grants) == MOST_GRANTS or _looked_at_part(in_flight, runnable))

    def _claims(
        self, in_flight: Sequence[Record], used: Counter[int], runnable: Sequence[Record], plans: Sequence[Record]
    ) -> list[admission.Claim]:
        by_training = {(row["tenant"], row["training"]): row["used"] for row in in_flight}
        shards: dict[int, dict[int, list[admission.Pending]]] = {}
        for row in runnable:
            pending = admission.Pending(row["id"], row["open"], row["suspected"])
            shards.setdefault(row["tenant"], {}).setdefault(row["training"], []).append(pending)
        return [
            admission.Claim(
                plan["id"],
                plan["slots"],
                used[plan["id"]],
                plan["weight"],
                self._service.received(plan["id"], plan["weight"]),
                [admission.Backlog(t, by_training.get((plan["id"], t), 0), pending) for t, pending in shards[plan["id"]].items()],
            )
            for plan in plans
        ]

    async def _make(self, grants: Sequence[admission.Grant]) -> list[Record]:
        async with self._c.transaction():
            tenants = {row["id"]: row for row in await self._c.fetch(SQL["lock_tenants"], list({g.tenant for g in grants}))}
            trainings = {row["id"]: row for row in await self._c.fetch(SQL["lock_startable_trainings"], list({g.training for g in grants}))}
            rows = [
                (g.shard, g.width, g.tenant)
                for g in sorted(grants, key=lambda g: g.shard)
                if g.tenant in tenants and g.training in trainings
            ]
            granted = await self._c.fetchmany(SQL["grant"], rows) if rows else []
        places = {grant.shard: place for place, grant in enumerate(grants)}
        made = sorted(granted, key=lambda shard: places[shard["id"]])  # locked by id, published in their turn
        log.debug("%d shards are granted.", len(made))
        now = time.monotonic()
        for shard in made:
            self._overdue.granted(now, shard["id"], shard["number"])
        self._preemptions.granted((shard["id"], shard["number"]) for shard in made)
        self._publisher.submit(
            (shard["id"], messages.of_grant(_granted(shard, tenants[shard["tenant"]], trainings[shard["training"]]))) for shard in made
        )
        return made

    async def _republish(self) -> None:
        rows = {(row["id"], row["number"]): row for row in await self._c.fetch(SQL["dispatched"])}
        self._preemptions.forget_others(rows)
        due = self._overdue.due(time.monotonic(), rows)
        metrics.REPUBLISHED.add(len(due))
        if due:
            log.info("%d granted shards were not begun in time and are published again.", len(due))
        self._publisher.submit((key[0], messages.of_grant(_granted(rows[key], rows[key], rows[key]))) for key in due)

    async def _take_back(self) -> None:
        live = [Sighting(row["id"], row["beat"], row["attached"]) for row in await self._c.fetch(SQL["live_sessions"])]
        self._lapses.take_back(self._observer.observe(time.monotonic(), live))

    async def _balance(self) -> None:
        if not self._crowded_lanes:
            await self._balancing.make()

    async def _forget(self, now: float) -> None:
        if now - self._forgot >= FORGET_SECONDS:
            self._forgot = now
            await self._c.execute(SQL["forget_sessions"], MOST_FORGOTTEN)


def _granted(shard: Record, tenant: Record, training: Record) -> messages.Granted:
    return messages.Granted(
        shard=shard["id"],
        number=shard["number"],
        first=shard["first"],
        count=shard["count"],
        width=shard["width"],
        shard_number=shard["shard_number"],
        last_processed=shard["last_processed"],
        tenant_id=tenant["tenant_name"],
        plan=tenant["plan"],
        task_id=training["task_id"],
        traceparent=training["traceparent"],
    )


def _looked_at_part(in_flight: Sequence[Record], runnable: Sequence[Record]) -> bool:
    """Whether a tenant may have more trainings that wait than the round looked at."""
    busy = {row["training"] for row in in_flight}
    idle = Counter(tenant for tenant, training in {(row["tenant"], row["training"]) for row in runnable} if training not in busy)
    return any(count >= MOST_IDLE for count in idle.values())


def _used(in_flight: Sequence[Record]) -> Counter[int]:
    used: Counter[int] = Counter()
    for row in in_flight:
        used[row["tenant"]] += row["used"]
    return used
