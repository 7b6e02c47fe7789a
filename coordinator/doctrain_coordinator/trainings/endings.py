"""Ends a training before its documents have: by its tenant's word, or because its manifest was wrong (docs/protocol.md, "Cancel")."""

from __future__ import annotations

from doctrain_coordinator import outcomes
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tracking.shard_locks import ShardLocks, brief, lock_shards
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, ShardState)
END_SECONDS = 20.0


async def end_early(locks: ShardLocks, training: int, state: TrainingState, reason: str | None, *, deed: Deed | None = None) -> bool:
    """What waits is cancelled, what runs is ordered to stop. False when it had ended. Raises StoreUnavailableError."""

    async def end(c: Connection) -> TrainingRow | None:
        row = await lock_training(c, training)
        if row is None or row.state.ended:
            return None
        version = await c.fetchval(SQL["end_training"], training, state, reason)
        await lock_open_shards(c, training)
        await c.execute(SQL["end_shards"], training, version)
        if deed is not None:
            await deed.write(c, f"Training {training} ({row.task_id}) was cancelled")
        return row

    ended = await locks.transact("ending a training", END_SECONDS, end)
    if ended is not None:
        outcomes.tell_ended(training, ended.task_id, state, total=ended.total, completed=ended.completed, failed=ended.failed)
    return ended is not None


async def lock_training(c: Connection, training: int) -> TrainingRow | None:
    """The row of a training, locked; None when there is none."""
    row = await c.fetchrow(SQL["lock_for_end"], training)
    if row is None:
        return None
    return TrainingRow(**{**row, "state": TrainingState(row["state"])})


async def lock_open_shards(c: Connection, training: int) -> None:
    """Locks all that has not ended of a training that is locked."""
    running = [row["id"] for row in await c.fetch(SQL["running_shards"], training)]
    await brief(c)
    await lock_shards(c, running, SQL["lock_open_shards"], training)
