"""What a tenant may do to a training that was started: cancel it, pause it, let it go on (PROTOCOL "Cancel", "Pause").

Each is one transaction and safe to repeat; orders to shards that run are rows, which every heartbeat's answer repeats.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from doctrain_coordinator import endings
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store import statements
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool

SQL = statements.load("trainings")
CONTROL_SECONDS = 20.0


class Control:
    """Raises StoreUnavailableError; an ended training is left as it is."""

    def __init__(self, pool: Pool, changes: Changes) -> None:
        self._pool, self._changes = pool, changes

    async def cancel(self, training: int) -> None:
        """Ends it; what runs is killed within a heartbeat."""
        async with self._changing("cancelling a training") as c:
            changed = await endings.end_early(c, training, TrainingState.CANCELLED, None)
        self._told(training, changed)

    async def pause(self, training: int) -> None:
        """What was handed out is taken back, what runs ends by itself, nothing else starts."""
        async with self._changing("pausing a training") as c:
            await c.fetchrow(SQL["lock_for_end"], training)
            version = await c.fetchval(SQL["pause_training"], training)
            if version is not None:
                await c.fetch(SQL["lock_open_shards"], training)
                await c.execute(SQL["pause_shards"], training, version)
        self._told(training, version is not None)

    async def resume(self, training: int) -> None:
        """Its shards may be granted again."""
        async with self._changing("resuming a training") as c:
            version = await c.fetchval(SQL["resume_training"], training)
        self._told(training, version is not None)

    @asynccontextmanager
    async def _changing(self, operation: str) -> AsyncIterator[Any]:
        async with postgres.acquired(self._pool, operation, seconds=CONTROL_SECONDS) as c, c.transaction():
            yield c

    def _told(self, training: int, changed: bool) -> None:
        if changed:
            self._changes.trainings([training])
            self._changes.work()
