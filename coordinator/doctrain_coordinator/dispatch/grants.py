"""Grants shards, as a pure function decides from a snapshot (``core.admission``).

They are made under the tenants' locks, where they are counted again; commit first, publish after.

What a look costs follows from the fleet's room, not from what waits: no more tenants are looked at than can get a grant, and of each no
more trainings than it can get.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctrain_coordinator.core import admission
from doctrain_coordinator.core.received_service import ReceivedService
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.dispatch import messages
from doctrain_coordinator.dispatch.publisher import Publisher
from doctrain_mesh.postgres import Connection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState, TrainingState)
MOST_GRANTS = 256
# Of a tenant's trainings that have nothing in flight, a look is at that many, the oldest.
MOST_IDLE = 64

Key = tuple[int, int]
"""A shard and the number of its grant."""


@dataclass(frozen=True, slots=True)
class Made:
    """What one transaction granted, in the order of publication, and whether there may be more."""

    grants: Sequence[Key] = ()
    more: bool = False


class Grants:
    """Makes them on the leader's connection. ``crowded_lanes``: of the fleet, as last looked at, if all are taken; else 0."""

    def __init__(self, connection: Connection, publisher: Publisher, service: ReceivedService, lane_slots: int) -> None:
        self._c, self._publisher, self._service, self._lane_slots = connection, publisher, service, lane_slots
        self.crowded_lanes = 0

    async def make(self) -> Made:
        """Makes one transaction's grants, MOST_GRANTS at most."""
        in_flight = await self._c.fetch(SQL["in_flight"])
        fleet = await self._c.fetchrow(SQL["room"])
        assert fleet is not None
        lanes, to_start = fleet["lanes"], sum(row["to_start"] for row in in_flight) - fleet["to_start_aside"]
        used = _used(in_flight)
        self._service.observe(time.monotonic(), used)
        self.crowded_lanes = lanes if lanes <= to_start else 0
        room = min(admission.room_for(lanes, to_start, self._publisher.queued), MOST_GRANTS)
        if room <= 0:
            return Made()
        places = 2 * lanes * self._lane_slots - (used.total() - fleet["used_aside"])
        claims = await self._claims(used)
        while claims:
            first, claims = claims[:room], claims[room:]
            backlogs = await self._backlogs(first, in_flight, room)
            if grants := admission.choose(first, backlogs, room, places, self._lane_slots):
                return await self._make(grants, more=len(grants) == MOST_GRANTS or _looked_at_part(backlogs, room))
        return Made()

    async def _claims(self, used: Counter[int]) -> list[admission.Claim]:
        tenants = await self._c.fetch(SQL["claimants"])
        with_work = {*used, *(tenant["id"] for tenant in tenants)}
        self._service.attend(with_work)
        self._service.forget_others(with_work)
        return admission.in_turn(
            admission.Claim(
                tenant["id"],
                tenant["slots"],
                used[tenant["id"]],
                tenant["weight"],
                self._service.received(tenant["id"], tenant["weight"]),
            )
            for tenant in tenants
        )

    async def _backlogs(self, claims: Sequence[admission.Claim], in_flight: Sequence[Record], room: int) -> admission.Backlogs:
        by_training = {row["training"]: row["used"] for row in in_flight}
        runnable = await self._c.fetch(SQL["runnable"], room, min(MOST_IDLE, room), [claim.tenant for claim in claims])
        shards: dict[int, dict[int, list[admission.Pending]]] = {}
        for row in runnable:
            pending = admission.Pending(row["id"], row["open"], row["suspected"])
            shards.setdefault(row["tenant"], {}).setdefault(row["training"], []).append(pending)
        return {
            tenant: [admission.Backlog(training, by_training.get(training, 0), pending) for training, pending in trainings.items()]
            for tenant, trainings in shards.items()
        }

    async def _make(self, grants: Sequence[admission.Grant], *, more: bool) -> Made:
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
        rows_of_made = ({**tenants[shard["tenant"]], **trainings[shard["training"]], **shard} for shard in made)
        self._publisher.submit((row["id"], messages.of_grant(granted_shard(row))) for row in rows_of_made)
        return Made([(shard["id"], shard["number"]) for shard in made], bool(made) and more)


def granted_shard(row: Mapping[str, Any] | Record) -> messages.Granted:
    """What is published of a grant, of a shard with its tenant and training."""
    return messages.Granted(
        shard=row["id"],
        number=row["number"],
        first=row["first"],
        count=row["count"],
        width=row["width"],
        shard_number=row["shard_number"],
        last_processed=row["last_processed"],
        tenant_id=row["tenant_name"],
        plan=row["plan"],
        task_id=row["task_id"],
        traceparent=row["traceparent"],
    )


def _looked_at_part(backlogs: admission.Backlogs, room: int) -> bool:
    """Whether a tenant may have more trainings that wait than were looked at, and room for them."""
    return room > MOST_IDLE and any(sum(not one.used for one in trainings) >= MOST_IDLE for trainings in backlogs.values())


def _used(in_flight: Sequence[Record]) -> Counter[int]:
    used: Counter[int] = Counter()
    for row in in_flight:
        used[row["tenant"]] += row["used"]
    return used
