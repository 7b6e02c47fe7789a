"""Room for a tenant's trainings that wait behind its own (docs/protocol.md, "Turns of trainings"; decided in ``core.training_turns``)."""

from __future__ import annotations

import logging
import time

from doctrain_coordinator.core.first_seen import FirstSeen
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.core.training_turns import TurnHolder, choose
from doctrain_coordinator.dispatch import yields
from doctrain_mesh.postgres import Connection, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState, TrainingState)


class TrainingTurns:
    """Lets trainings of one tenant take turns, during one leader's term."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection
        self._seen = FirstSeen()

    async def make(self) -> None:
        """Once in a while; what is read is no more than a look, so each order holds only if the shard is still what it was."""
        rows = await self._c.fetch(SQL["running"])
        ages = self._seen.ages(time.monotonic(), ((row["id"], row["number"]) for row in rows))
        running = [
            TurnHolder(row["tenant"], row["training"], row["id"], row["number"], row["width"], ages[row["id"], row["number"]])
            for row in rows
        ]
        if told := choose(running):
            log.debug("%d shards make room for other trainings of their tenants.", await yields.tell(self._c, told))
