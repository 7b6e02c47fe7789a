"""Counts what a block of results says, once, when it is made: not each document, which would cost more than some take."""

from __future__ import annotations

from collections import Counter

from doctrain_mesh.stages import STAGES, WAIT
from doctrain_worker import metrics
from doctrain_worker.core.results import Columns
from doctrain_worker.pipeline.processor import ErrorClass

_STAGES = frozenset({*STAGES, WAIT})
_CLASSES: dict[int, str] = {known: known.name.lower() for known in ErrorClass}


def reported(ended: int, columns: Columns) -> None:
    """Counts documents that ended and are told of in these columns."""
    if not ended:
        return
    failed, unchanged = len(columns.failed), len(columns.unchanged)
    metrics.DOCUMENTS.add(ended - failed - unchanged, "trained", "")
    metrics.DOCUMENTS.add(unchanged, "unchanged", "")
    for name, count in Counter(_CLASSES.get(failure.error_class, "other") for failure in columns.failed).items():
        metrics.DOCUMENTS.add(count, "failed", name)
    metrics.TRIES.add(ended + sum(count - 1 for _, count in columns.tries))
    for _, stages in columns.passed:
        for stage in stages:
            metrics.STAGE_DURATION.record(stage.took_ms / 1000, stage.name if stage.name in _STAGES else "other")
