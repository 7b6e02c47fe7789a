"""Which shards are granted next: within each tenant's plan, within the fleet's room, fairly.

The tenant with the fewest slots in use for its weight goes first, of several the one that the fleet has worked least for; within a
tenant, the training with the fewest slots in use, then the oldest. A decision only proposes: the grant's own transaction counts
again under the tenant's lock (docs/protocol.md, "Grant").
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

MOST_OVER = 1_000
"""Messages of grants that are over, by a pause or a cancel, that may wait in the queue for a worker to drop them."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A shard that could run now: its documents still open, and whether some of them are suspects."""

    shard: int
    open: int
    suspected: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """The next pending shards of one training, in order, and the slots that its shards in flight are counted for."""

    training: int
    used: int
    shards: Sequence[Pending]


Backlogs: TypeAlias = Mapping[int, Sequence[Backlog]]
"""What each tenant wants."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one tenant that wants more may have (``slots``), has (``used``), and had (``received``: ``core.received_service``)."""

    tenant: int
    slots: int
    used: int
    weight: float
    received: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A shard to dispatch, counted for ``width`` slots."""

    shard: int
    training: int
    tenant: int
    width: int


def room_for(lanes: int, to_start: int, queued: int) -> int:
    """How many shards may be granted, 0 or less for none.

    Of the shards in flight ``to_start`` have documents to start; ``queued`` messages may be in the queue. As many as the lanes hold may
    wait beside those that have one. A shard whose documents have all started has given its lane back, so that many small trainings of
    long documents leave room for others. Whatever tenants do with their trainings, the queue grows no further than that and MOST_OVER.
    """
    on_deck = 2 * lanes
    return min(on_deck - to_start, on_deck + MOST_OVER - queued)


def width_of(shard: Pending, free_slots: int, lane_slots: int) -> int:
    """Slots to count a shard for: one while suspects are left, else what it can use of what is free."""
    return min(1 if shard.suspected else lane_slots, shard.open, free_slots)


def in_turn(claims: Iterable[Claim]) -> list[Claim]:
    """The claims that can be met, those first that come first: of so many grants as there are, none is for a tenant further down."""
    return sorted((claim for claim in claims if claim.used < claim.slots), key=lambda claim: _turn(claim, claim.used))


def choose(claims: Iterable[Claim], backlogs: Backlogs, room: int, places: int, lane_slots: int) -> list[Grant]:
    """At most ``room`` grants, in the order in which they are to be made.

    Workers have ``places`` for so many more documents; without any, only tenants that have nothing in flight are given a shard.
    """
    grants: list[Grant] = []
    queue = [(*_turn(claim, claim.used), _Tenant(claim, backlogs.get(claim.tenant, ()))) for claim in claims]
    heapq.heapify(queue)
    while queue and len(grants) < room:
        *_, tenant = heapq.heappop(queue)
        grant = tenant.next(lane_slots) if places > 0 or not tenant.used else None
        if grant is None:
            continue
        places -= grant.width
        grants.append(grant)
        heapq.heappush(queue, (*_turn(tenant.claim, tenant.used), tenant))
    return grants


def _turn(claim: Claim, used: int) -> tuple[float, float, int]:
    return used / claim.weight, claim.received, claim.tenant


class _Tenant:
    """One tenant's part of a decision while it is being made."""

    def __init__(self, claim: Claim, backlogs: Iterable[Backlog]) -> None:
        self.claim = claim
        self.used = claim.used
        self._trainings = [(backlog.used, backlog.training, 0, backlog) for backlog in backlogs if backlog.shards]
        heapq.heapify(self._trainings)

    def next(self, lane_slots: int) -> Grant | None:
        free = self.claim.slots - self.used
        if free <= 0 or not self._trainings:
            return None
        used, training, place, backlog = heapq.heappop(self._trainings)
        shard = backlog.shards[place]
        width = width_of(shard, free, lane_slots)
        self.used += width
        if place + 1 < len(backlog.shards):
            heapq.heappush(self._trainings, (used + width, training, place + 1, backlog))
        return Grant(shard.shard, training, self.claim.tenant, width)
