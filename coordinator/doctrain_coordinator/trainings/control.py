"""What may be done to a training that was started: cancel it, pause it, let it go on (docs/protocol.md, "Cancel", "Pause").

Each is one transaction and safe to repeat; orders to shards that run are rows, which every heartbeat's answer repeats.
"""

from __future__ import annotations

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.trainings.endings import end_early, lock_open_shards, lock_training
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, ShardState, TrainingState)
CONTROL_SECONDS = 20.0


class Control:
    """Raises StoreUnavailableError; an ended training is left as it is. A ``deed`` is written where it changes something."""

    def __init__(self, locks: ShardLocks, changes: Changes) -> None:
        self._locks, self._changes = locks, changes

    async def cancel(self, training: int, *, deed: Deed | None = None) -> None:
        """Ends it; what runs is killed within a heartbeat."""
        self._told(training, await end_early(self._locks, training, TrainingState.CANCELLED, None, deed=deed))

    async def pause(self, training: int, *, deed: Deed | None = None) -> None:
        """What was handed out is taken back, what runs ends by itself, nothing else starts."""
        await self._hold(training, "pause_training", "pausing a training", deed)

    async def resume(self, training: int, *, deed: Deed | None = None) -> None:
        """Lets a training's shards be granted again, unless its tenant is suspended."""
        await self._let_go(training, "resume_training", "resuming a training", deed)

    async def suspend(self, training: int) -> None:
        """Makes a training stand still as if it were paused, whatever its tenant wants, until it is let go."""
        await self._hold(training, "suspend_training", "suspending a training", None)

    async def let_go(self, training: int) -> None:
        """Lets a training go on whose tenant is suspended no more, unless it is paused."""
        await self._let_go(training, "unsuspend_training", "letting a training go on", None)

    async def _hold(self, training: int, statement: str, operation: str, deed: Deed | None) -> None:
        async def hold(c: Connection) -> bool:
            row = await lock_training(c, training)
            version = await c.fetchval(SQL[statement], training)
            if row is None or version is None:
                return False
            await lock_open_shards(c, training)
            await c.execute(SQL["pause_shards"], training, version)
            if deed is not None:
                await deed.write(c, f"Training {training} ({row.task_id}) was paused")
            return True

        self._told(training, await self._locks.transact(operation, CONTROL_SECONDS, hold))

    async def _let_go(self, training: int, statement: str, operation: str, deed: Deed | None) -> None:
        async def let_go(c: Connection) -> bool:
            row = await lock_training(c, training)
            if row is None or await c.fetchval(SQL[statement], training) is None:
                return False
            await c.execute(SQL["resume_shards"], training)
            if deed is not None:
                await deed.write(c, f"Training {training} ({row.task_id}) was resumed")
            return True

        self._told(training, await self._locks.transact(operation, CONTROL_SECONDS, let_go))

    def _told(self, training: int, changed: bool) -> None:
        if changed:
            self._changes.trainings([training])
            self._changes.work()
