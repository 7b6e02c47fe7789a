"""Announces that a suspect starts alone, before it does: who is lost with it is known (docs/protocol.md, "Trial")."""

from __future__ import annotations

from doctrain_coordinator import metrics
from doctrain_coordinator.core.states import ShardState
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, ShardState)
TRIAL_SECONDS = 10.0


class Trials:
    """Raises StoreUnavailableError; a trial that is announced again is the same one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(self, session: int, hold: tuple[int, int], ordinal: int) -> bool:
        """Whether that document may start: it is suspected, and the session holds the shard under that number."""
        shard, number = hold
        async with postgres.acquired(self._pool, "starting a trial", seconds=TRIAL_SECONDS) as c:
            started = await c.fetchval(SQL["start_trial"], shard, number, session, ordinal) is not None
        metrics.TRIALS.add(started)
        return started
