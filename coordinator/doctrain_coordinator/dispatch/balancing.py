"""Shards of full workers go on at those that have free lanes (docs/protocol.md, "Balance"; decided in ``core.balance``).

Only while no grant waits: what is in the queue goes to free lanes by itself.
"""

from __future__ import annotations

import logging
import time

from doctrain_coordinator.core.balance import ShardInLane, Worker, balance
from doctrain_coordinator.core.first_seen import FirstSeen
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch import yields
from doctrain_mesh.postgres import Connection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState)


class Balancing:
    """Moves shards to workers that joined, during one leader's term."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection
        self._seen = FirstSeen()

    async def make(self) -> None:
        """Once in a while; what is read is no more than a look, so each order holds only if the shard is still what it was.

        A worker that is alone is looked at, too: what it has had for long may go to the next that comes.
        """
        now = time.monotonic()
        workers = {row["id"]: row["lanes"] for row in await self._c.fetch(SQL["workers"])}
        shards = await self._c.fetch(SQL["in_lanes"], list(workers))
        ages = self._seen.ages(now, map(_key, shards))
        running: dict[int, list[ShardInLane]] = {session: [] for session in workers}
        for row in shards:
            running[row["holder"]].append(ShardInLane(*_key(row), row["left_open"], ages[_key(row)], row["yields"]))
        moved = balance([Worker(lanes, running[session]) for session, lanes in workers.items()])
        if not moved or await self._c.fetchval(SQL["granted"]):
            return
        told = await yields.tell(self._c, moved)
        log.info("%s at workers that have fewer.", "1 shard goes on" if told == 1 else f"{told} shards go on")


def _key(row: Record) -> tuple[int, int]:
    return row["id"], row["number"]
