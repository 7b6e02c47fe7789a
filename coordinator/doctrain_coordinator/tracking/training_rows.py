"""Trainings between Postgres and the ledger: locked rows in, changed rows out. They are the first that any transaction locks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tracking.items import TrainingFacts
from doctrain_mesh.postgres import Connection, Record, statements

SQL = statements.of(__name__)


async def lock_trainings(c: Connection, shards: Iterable[int]) -> list[tuple[TrainingRow, TrainingFacts]]:
    """Locks the trainings of these shards, in order: each as the ledger takes it, and what of it never changes."""
    return [(_row(row), _facts(row)) for row in await c.fetch(SQL["lock_trainings"], list(shards))]


def _row(row: Record) -> TrainingRow:
    counts = row["total"], row["completed"], row["failed"], row["version"]
    return TrainingRow(row["id"], TrainingState(row["state"]), row["sealed"], *counts, row["task_id"])


def _facts(row: Record) -> TrainingFacts:
    numbered = row["uri_template"], row["number_offset"]
    return TrainingFacts(row["task_id"], row["index_order"], row["traceparent"], row["retrain"], *numbered)


async def write_trainings(c: Connection, rows: Iterable[TrainingRow]) -> list[int]:
    """Settles and writes those that the transaction changed; answers which."""
    changed: list[tuple[Any, ...]] = []
    for row in rows:
        if row.changed:
            row.settle()
            changed.append((row.id, row.state, row.completed, row.failed, row.version, row.begun, row.state.ended))
    if changed:
        await c.executemany(SQL["update_training"], changed)
    return [row[0] for row in changed]
