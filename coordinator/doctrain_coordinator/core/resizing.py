"""How wide shards in flight are to be: within their tenant's limit as it is now, and as wide as that allows (docs/protocol.md, "Resize").

A limit that was lowered narrows the widest shards first, and only where one document at a time in each is still too much is a shard
told to hand its rest back. Slots that are free while nothing is left to grant go to the narrowest shards. A decision only proposes: a
widening is counted again under the tenant's lock, and a shard that is narrowed counts as before until its worker says that it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.lane_shares import Preemption


@dataclass(frozen=True, slots=True)
class Sized:
    """A shard in flight, counted for ``width`` slots.

    Args:
        narrow_to: what its worker was told and has not confirmed; None: its last change is settled.
        open: its documents that have not ended, those that run included.
        runs: it is RUNNING; else it waits to be begun, or is to stop.
        suspected: it runs one document at a time for its suspects.
        leaving: it is to stop or to be handed back.
    """

    shard: int
    number: int
    width: int
    narrow_to: int | None
    open: int
    runs: bool
    suspected: bool
    leaving: bool

    @property
    def told(self) -> int:
        """What it will be counted for."""
        return self.width if self.narrow_to is None else self.narrow_to


@dataclass(frozen=True, slots=True)
class InFlight:
    """What one tenant has in flight, of ``slots`` that it may use; ``waits``: it has shards that could be granted."""

    tenant: int
    slots: int
    waits: bool
    shards: Sequence[Sized]


@dataclass(frozen=True, slots=True)
class Resizing:
    """Changes of width: ``wider`` as (shard, number, width, tenant), ``narrower`` without the tenant; and what goes ``back``."""

    wider: Sequence[tuple[int, int, int, int]]
    narrower: Sequence[tuple[int, int, int]]
    back: Preemption

    def __bool__(self) -> bool:
        return bool(self.wider or self.narrower or self.back.withdrawn or self.back.yielding)


def resize(tenants: Iterable[InFlight], lane_slots: int) -> Resizing:
    """What to change now; nothing of a tenant whose shards fit, or will once their workers have confirmed what they were told."""
    wider: list[tuple[int, int, int, int]] = []
    narrower: list[tuple[int, int, int]] = []
    back: list[Sized] = []
    for tenant in tenants:
        staying = [shard for shard in tenant.shards if not shard.leaving]
        if sum(shard.told for shard in staying) > tenant.slots:
            gone = _too_many(staying, tenant.slots)
            back += gone
            narrower += _narrower([shard for shard in staying if shard not in gone], tenant.slots)
        elif not tenant.waits and not any(shard.leaving and shard.runs for shard in tenant.shards):
            free = tenant.slots - sum(shard.width for shard in tenant.shards)
            wider += ((*change, tenant.tenant) for change in _wider(staying, free, lane_slots))
    withdrawn = [(shard.shard, shard.number) for shard in back if not shard.runs]
    yielding = [(shard.shard, shard.number) for shard in back if shard.runs]
    return Resizing(sorted(wider), sorted(narrower), Preemption(sorted(withdrawn), sorted(yielding)))


def _too_many(staying: Sequence[Sized], slots: int) -> list[Sized]:
    """The shards for which there is not even one slot each: first what no worker has begun, then the youngest."""
    last_first = sorted(staying, key=lambda shard: (shard.runs, -shard.shard))
    return last_first[: max(0, len(staying) - slots)]


def _narrower(shards: Sequence[Sized], slots: int) -> list[tuple[int, int, int]]:
    """First to the documents that they have left, which costs nothing, then the widest by one and again."""
    settled = [shard for shard in shards if shard.narrow_to is None]
    widths = {shard.shard: max(1, min(shard.width, shard.open)) for shard in settled}
    over = sum(shard.told for shard in shards if shard.narrow_to is not None) + sum(widths.values()) - slots
    widest = [(-width, -shard) for shard, width in widths.items()]
    heapq.heapify(widest)
    while over > 0 and widest and widest[0][0] < -1:
        width, shard = heapq.heappop(widest)
        widths[-shard] -= 1
        over -= 1
        heapq.heappush(widest, (width + 1, shard))
    return [(shard.shard, shard.number, widths[shard.shard]) for shard in settled if widths[shard.shard] < shard.width]


def _wider(shards: Sequence[Sized], free: int, lane_slots: int) -> list[tuple[int, int, int]]:
    """The narrowest by one and again, while slots are free; none beyond the documents that it has left."""
    most = {shard.shard: min(lane_slots, shard.open) for shard in shards if shard.runs and shard.narrow_to is None and not shard.suspected}
    widths = {shard.shard: shard.width for shard in shards if shard.shard in most}
    narrowest = [(width, shard) for shard, width in widths.items() if width < most[shard]]
    heapq.heapify(narrowest)
    while free > 0 and narrowest:
        width, shard = heapq.heappop(narrowest)
        widths[shard] = width + 1
        free -= 1
        if width + 1 < most[shard]:
            heapq.heappush(narrowest, (width + 1, shard))
    return [(shard.shard, shard.number, widths[shard.shard]) for shard in shards if widths.get(shard.shard, 0) > shard.width]
