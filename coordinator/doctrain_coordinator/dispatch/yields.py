"""Shards that are told to hand back what is left of them, by the answers to their workers' heartbeats."""

from __future__ import annotations

from collections.abc import Sequence

from doctrain_coordinator.core.states import ShardState
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, ShardState)


async def tell(connection: Connection, shards: Sequence[tuple[int, int]]) -> int:
    """Tells those of the (shard, number) that run still, in this order; answers how many."""
    return len(await connection.fetchmany(SQL["tell_to_yield"], shards)) if shards else 0
