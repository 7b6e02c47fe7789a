"""Widths of shards in flight, once a poll (docs/protocol.md, "Resize"; decided in ``core.resizing``).

What is read is no more than a look, by one statement that answers nothing while nothing is to change. What is decided holds only if the
shard is still what it was, and wider only if that is within the tenant's limit under the tenant's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, groupby

from doctrain_coordinator import metrics
from doctrain_coordinator.core.lane_shares import Preemption
from doctrain_coordinator.core.resizing import InFlight, Resizing, Sized, resize
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch import preemption
from doctrain_mesh.postgres import Connection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState)


class Resizings:
    """Widens and narrows shards that run, during one leader's term. ``lane_slots`` is the most documents at once within a shard."""

    def __init__(self, connection: Connection, lane_slots: int) -> None:
        self._c, self._lane_slots = connection, lane_slots

    async def make(self) -> None:
        """Changes what is to be changed now."""
        decided = resize(_held(await self._c.fetch(SQL["sized"], self._lane_slots)), self._lane_slots)
        if not decided:
            return
        async with self._c.transaction():
            wider, narrower, back = await self._change(decided)
        metrics.RESIZES.add(wider, "wider")
        metrics.RESIZES.add(narrower, "narrower")
        log.info("%d shards are wider now, %d are told to be narrower, %d to go back.", wider, narrower, back)

    async def _change(self, decided: Resizing) -> tuple[int, int, int]:
        """Within a transaction: answers how many are wider now, how many are to be narrower, and how many go back."""
        locked = await self._lock({tenant for _, _, _, tenant in decided.wider})
        changed = chain(decided.wider, decided.narrower, decided.back.withdrawn, decided.back.yielding)
        free = {row["id"] for row in await self._c.fetch(SQL["lock_shards"], [shard for shard, *_ in changed])}
        wider = [change for change in decided.wider if change[0] in free and change[3] in locked]
        narrower = [change for change in decided.narrower if change[0] in free]
        made = await self._c.fetchmany(SQL["widen"], wider) if wider else []
        told = await self._c.fetchmany(SQL["narrow"], narrower) if narrower else []
        withdrawn = [key for key in decided.back.withdrawn if key[0] in free]
        yielding = [key for key in decided.back.yielding if key[0] in free]
        return len(made), len(told), sum(await preemption.carry_out(self._c, Preemption(withdrawn, yielding)))

    async def _lock(self, tenants: Collection[int]) -> set[int]:
        """The tenants whose rows are locked from here on; one that is suspended gets no more."""
        return {row["id"] for row in await self._c.fetch(SQL["lock_tenants"], list(tenants))} if tenants else set()


def _held(rows: Sequence[Record]) -> Iterator[InFlight]:
    for tenant, group in groupby(rows, key=lambda row: row["tenant"]):
        shards = list(group)
        yield InFlight(tenant, shards[0]["slots"], shards[0]["waits"], [_sized(row) for row in shards])


def _sized(row: Record) -> Sized:
    return Sized(
        row["id"],
        row["number"],
        row["width"],
        row["narrow_to"],
        row["open"],
        runs=row["runs"],
        suspected=row["suspected"],
        leaving=row["leaving"],
    )
