"""Lanes of a full fleet for tenants that have fewer than their share (docs/protocol.md, "Preemption"; decided in ``core.lane_shares``).

What is read is no more than a look: each change holds only if the shard is still what it was. Neither costs a document anything but
those in flight, which end where they run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence

from doctrain_coordinator.core.first_seen import FirstSeen
from doctrain_coordinator.core.lane_shares import Demand, LaneUse, Preemption, Waiting, lanes_for, preempt
from doctrain_coordinator.core.received_service import ReceivedService
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch import yields
from doctrain_mesh.postgres import Connection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState)
GAP_SECONDS = 0.25
"""Between one and the next: what was told to yield and what comes in its place need a moment."""


class Preemptions:
    """Takes lanes back for tenants that wait, during one leader's term."""

    def __init__(self, connection: Connection, service: ReceivedService, lane_slots: int) -> None:
        self._c, self._service, self._lane_slots = connection, service, lane_slots
        self._granted, self._made = 0, float("-inf")
        self._places: dict[tuple[int, int], int] = {}
        self._seen = FirstSeen()

    def granted(self, shards: Iterable[tuple[int, int]]) -> None:
        """Notes that these shards were granted and published in this order, under these numbers."""
        for key in shards:
            self._granted += 1
            self._places[key] = self._granted

    def forget_others(self, dispatched: Collection[tuple[int, int]]) -> None:
        """No other grant waits to be begun; else a fleet that is never full would have them all remembered."""
        self._places = {key: place for key, place in self._places.items() if key in dispatched}

    async def make(self, lanes: int) -> bool:
        """Makes room where a tenant misses some of the fleet's ``lanes``; answers whether that leaves other grants to be made."""
        now = time.monotonic()
        if now - self._made < GAP_SECONDS:
            return False
        shards = await self._c.fetch(SQL["in_lanes"])
        pending = await self._c.fetch(SQL["pending"], lanes, self._lane_slots)
        self._places = {_key(row): self._places.get(_key(row), 0) for row in shards if row["waiting"]}
        demands = self._demands(now, shards, pending)
        preemption = preempt(lanes, sum(row["yields"] for row in shards), demands)
        if not (preemption.withdrawn or preemption.yielding):
            return False
        self._made = now
        async with self._c.transaction():
            await self._c.fetch(SQL["lock"], [shard for shard, _ in (*preemption.withdrawn, *preemption.yielding)])
            withdrawn, told = await carry_out(self._c, preemption)
        log.debug("For tenants that miss lanes %d grants are withdrawn and %d shards told to yield.", withdrawn, told)
        return withdrawn > 0

    def _demands(self, now: float, shards: Sequence[Record], pending: Sequence[Record]) -> list[Demand]:
        plans = {row["tenant"]: row for row in (*shards, *pending)}
        self._service.attend(plans)
        ready = {row["tenant"]: lanes_for(row["slots"] - row["used"], row["widths"]) for row in pending}
        running: dict[int, list[LaneUse]] = {tenant: [] for tenant in plans}
        waiting: dict[int, list[Waiting]] = {tenant: [] for tenant in plans}
        ages = self._seen.ages(now, (_key(row) for row in shards if not row["waiting"]))
        for row in shards:
            key = _key(row)
            if row["waiting"]:
                waiting[row["tenant"]].append(Waiting(*key, self._places[key]))
            elif not row["yields"]:
                running[row["tenant"]].append(LaneUse(*key, ages[key]))
        return [
            Demand(
                tenant,
                plan["weight"],
                self._service.received(tenant, plan["weight"]),
                running[tenant],
                waiting[tenant],
                ready.get(tenant, 0),
            )
            for tenant, plan in plans.items()
        ]


async def carry_out(c: Connection, preemption: Preemption) -> tuple[int, int]:
    """Within a transaction that has locked its shards: answers how many grants were withdrawn, and how many shards told to yield."""
    withdrawn = await c.fetchmany(SQL["withdraw"], preemption.withdrawn) if preemption.withdrawn else []
    return len(withdrawn), await yields.tell(c, preemption.yielding)


def _key(row: Record) -> tuple[int, int]:
    return row["id"], row["number"]
