"""Consumes the dead-letter queue: each message that the broker put aside is explained to operators, then let go.

No work hangs on such a message: the grant that it carried stands in Postgres, and one that is still in force is published
again by the leader. So a dead letter is kept for whoever looks for its cause, and only the newest of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator import metrics
from doctrain_coordinator.core.dead_letters import DeadGrant, explain
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch import messages
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.ports import DEAD_REASON, Broker, Message
from doctrain_mesh.postgres import Pool, statements
from doctrain_mesh.supervise import forever

log = logging.getLogger(__name__)
SQL = statements.of(__name__)
PREFETCH = 16
STORE_SECONDS = 10.0
KEPT = 1_000
MOST_CAUSE = 100


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that the broker put aside, explained in a sentence; ``shard`` and ``number`` are 0 where it carried no grant."""

    id: int
    found_at: datetime
    cause: str
    shard: int
    number: int
    explanation: str


class DeadLetters:
    """Takes in what the broker put aside; one a pool. ``run`` is supervised by the application."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool, self._broker = pool, broker

    async def run(self) -> None:
        """Explains dead letters until cancelled; while Postgres is away they stay in their queue."""
        await forever("Explaining dead letters", self._explain_all, expected=StoreUnavailableError)

    async def newest(self, count: int) -> list[DeadLetter]:
        """The last ones found, the newest first."""
        async with postgres.acquired(self._pool, "listing dead letters", seconds=STORE_SECONDS) as c:
            return [DeadLetter(**row) for row in await c.fetch(SQL["newest"], count)]

    async def _explain_all(self) -> None:
        async with self._broker.dead_letters(PREFETCH) as letters:
            async for letter in letters:
                await self._keep(letter.message)
                await letter.ack()

    async def _keep(self, message: Message) -> None:
        cause = message.headers.get(DEAD_REASON, "unknown").replace("\x00", " ")[:MOST_CAUSE]
        shard, number = messages.grant_of(message)
        async with postgres.acquired(self._pool, "keeping a dead letter", seconds=STORE_SECONDS) as c, c.transaction():
            row = await c.fetchrow(SQL["shard"], shard)
            grant = DeadGrant(number, row["number"], ShardState(row["state"])) if row is not None else None
            sentence = explain(grant)
            await c.execute(SQL["keep"], cause, shard, number, sentence)
            await c.execute(SQL["trim"], KEPT)
        metrics.DEAD_LETTERS.add(1)
        log.warning("A dead letter (%s) of shard %d, number %d: %s", cause, shard, number, sentence)
