"""Ends a training before its documents have: by its tenant's word, or because its manifest turned out wrong (PROTOCOL "Cancel")."""

from __future__ import annotations

from typing import Any

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store import statements

SQL = statements.load("trainings")


async def end_early(c: Any, training: int, state: TrainingState, reason: str | None) -> bool:
    """Within the caller's transaction: what waits is cancelled, what runs is ordered to stop. False when it had ended."""
    row = await c.fetchrow(SQL["lock_for_end"], training)
    if row is None or TrainingState(row["state"]).ended:
        return False
    version = await c.fetchval(SQL["end_training"], training, state, reason)
    await c.fetch(SQL["lock_open_shards"], training)
    await c.execute(SQL["end_shards"], training, version)
    return True
