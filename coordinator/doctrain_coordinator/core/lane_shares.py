"""Whose shards have the lanes of a full fleet: each tenant its share by weight, whoever came first.

A shard may run for minutes, so a tenant that comes to a full fleet is not left to wait for the end of one: of those that have more
lanes than their share, shards that wait in the queue are withdrawn, so that its own come first, and shards that run hand back what is
left of them. Shares are those of weighted max-min fairness in whole lanes (Bertsekas and Gallager, "Data Networks", 6.5.2). Where
there are more tenants than lanes, those that have one keep it for a while, then it goes to whom the fleet has worked least for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

KEPT_SECONDS = 10.0
"""For so long a shard keeps its lane from tenants that have as many for their weight."""


@dataclass(frozen=True, slots=True)
class LaneUse:
    """A shard in a lane that has documents to start and was not told to yield, and for how long it has been seen there."""

    shard: int
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A granted shard whose message waits; the higher its ``place``, the later it was granted."""

    shard: int
    number: int
    place: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What one tenant has of the fleet, and whether it wants more: ``pending`` shards that its plan leaves room for.

    Args:
        received: slot-seconds that the fleet has worked for it, for its weight (``core.received_service``).
    """

    tenant: int
    weight: float
    received: float
    running: Sequence[LaneUse]
    waiting: Sequence[Waiting]
    pending: int

    @property
    def wanted(self) -> int:
        """Lanes that it could use."""
        return len(self.running) + len(self.waiting) + self.pending


@dataclass(frozen=True, slots=True)
class Preemption:
    """Shards as (shard, number): granted ones that are pending again, and running ones that are told to yield."""

    withdrawn: Sequence[tuple[int, int]] = ()
    yielding: Sequence[tuple[int, int]] = ()


def lanes_for(slots: int, widths: Iterable[int]) -> int:
    """How many shards, each of which would be counted for a width, can be granted in their order while any of ``slots`` is free."""
    lanes = 0
    for width in widths:
        if slots <= 0:
            break
        slots -= width
        lanes += 1
    return lanes


def preempt(lanes: int, told: int, demands: Sequence[Demand]) -> Preemption:
    """What to take from whom so that every tenant gets its share of ``lanes``.

    ``told`` shards were told to yield before; their lanes are as good as free. Nothing is taken where that frees no lane for anybody.
    """
    shares = share(lanes, demands)
    short = {demand.tenant: missing for demand in demands if (missing := shares[demand.tenant] - len(demand.running)) > 0}
    if not short:
        return Preemption()
    over = [demand for demand in demands if demand.tenant not in short]
    last = max((_last_needed(demand, short[demand.tenant]) for demand in demands if demand.tenant in short), default=0.0)
    withdrawn = sorted((one.shard, one.number) for demand in over for one in demand.waiting if one.place < last)
    free = lanes - told - sum(len(demand.running) for demand in demands)
    needed = max(0, sum(short.values()) - max(0, free) - told)
    yielding = sorted((one.shard, one.number) for one in _beyond(over, shares)[:needed])
    return Preemption(withdrawn, yielding)


def share(lanes: int, demands: Sequence[Demand]) -> Mapping[int, int]:
    """Lanes that are each tenant's: one after the other to the one that has the fewest for its weight and wants one more."""
    given = {demand.tenant: 0 for demand in demands}
    queue = [(_claim(demand, 0), demand.tenant, demand) for demand in demands if demand.wanted]
    heapq.heapify(queue)
    while lanes > 0 and queue:
        _, tenant, demand = heapq.heappop(queue)
        given[tenant] += 1
        lanes -= 1
        if given[tenant] < demand.wanted:
            heapq.heappush(queue, (_claim(demand, given[tenant]), tenant, demand))
    return given


def _claim(demand: Demand, given: int) -> tuple[float, bool, float]:
    """The lowest gets the next lane: who has the fewest, then whose shard is to be left alone there, then who got least."""
    kept = sum(one.seconds < KEPT_SECONDS for one in demand.running)
    return given / demand.weight, given >= kept, demand.received


def _last_needed(demand: Demand, missing: int) -> float:
    """The place in the queue until which nobody may be before this tenant; infinite while it was not granted what it misses."""
    places = sorted(one.place for one in demand.waiting)
    return float(places[missing - 1]) if len(places) >= missing else float("inf")


def _beyond(over: Iterable[Demand], shares: Mapping[int, int]) -> list[LaneUse]:
    """Shards beyond their tenants' shares: always one of the tenant that has the most left for its weight, the one that ran longest."""
    found: list[tuple[float, int, LaneUse]] = []
    for demand in over:
        longest_first = sorted(demand.running, key=lambda one: (-one.seconds, one.shard))
        beyond = longest_first[: len(demand.running) - shares[demand.tenant]]
        found += [((place - len(demand.running)) / demand.weight, one.shard, one) for place, one in enumerate(beyond)]
    return [one for *_, one in sorted(found, key=lambda item: item[:2])]
