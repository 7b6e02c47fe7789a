"""The statements that wait for shards without holding others up, in memory."""

from __future__ import annotations

from simulation.store.locks import Mode
from simulation.store.statements import columns, named
from simulation.store.tables import Row, Transaction


@named("tracking.shard_locks")
async def wait_briefly(tx: Transaction) -> list[Row]:
    tx.lock_timeout = 0.25
    return []


@named("tracking.shard_locks")
async def free(tx: Transaction, ids: list[int]) -> list[Row]:
    return [columns(row, "id") for row in tx.lock_free("shard", tx.some("shard", ids), Mode.UPDATE)]


@named("tracking.shard_locks")
async def wait_for_writers(tx: Transaction) -> list[Row]:
    tx.lock_timeout = 1.5
    return []


@named("tracking.shard_locks")
async def lock(tx: Transaction, shard: int) -> list[Row]:
    return [columns(row, "id") for row in await tx.lock_rows("shard", tx.some("shard", [shard]), Mode.UPDATE, lambda _: True)]


@named("tracking.stuck")
async def end_blocking_workers(tx: Transaction, pid: int) -> list[Row]:
    """Workers have no connections here: nothing is indexed."""
    return []
