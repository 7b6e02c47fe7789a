"""What a tenant may do to a training that was started: cancel it, pause it, let it go on (docs/protocol.md, "Cancel", "Pause").

Each is one transaction and safe to repeat; orders to shards that run are rows, which every heartbeat's answer repeats.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.trainings.endings import end_early, lock_open_shards, lock_training
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, ShardState, TrainingState)
CONTROL_SECONDS = 20.0


class Control:
    """Raises StoreUnavailableError; an ended training is left as it is."""

    def __init__(self, locks: ShardLocks, changes: Changes) -> None:
        self._locks, self._changes = locks, changes

    async def cancel(self, training: int) -> None:
        """Ends it; what runs is killed within a heartbeat."""
        self._told(training, await end_early(self._locks, training, TrainingState.CANCELLED, None))

    async def pause(self, training: int) -> None:
        """What was handed out is taken back, what runs ends by itself, nothing else starts."""

        async def hold(c: Connection) -> bool:
            await lock_training(c, training)
            version = await c.fetchval(SQL["pause_training"], training)
            if version is not None:
                await lock_open_shards(c, training)
                await c.execute(SQL["pause_shards"], training, version)
            return version is not None

        await self._change(training, "pausing a training", hold)

    async def resume(self, training: int) -> None:
        """Its shards may be granted again."""

        async def let_go(c: Connection) -> bool:
            if await c.fetchval(SQL["resume_training"], training) is None:
                return False
            await c.execute(SQL["resume_shards"], training)
            return True

        await self._change(training, "resuming a training", let_go)

    async def _change(self, training: int, operation: str, change: Callable[[Connection], Awaitable[bool]]) -> None:
        self._told(training, await self._locks.transact(operation, CONTROL_SECONDS, change))

    def _told(self, training: int, changed: bool) -> None:
        if changed:
            self._changes.trainings([training])
            self._changes.work()
