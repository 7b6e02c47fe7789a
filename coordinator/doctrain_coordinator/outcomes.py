"""What the log and the metrics tell of trainings and documents, once it is committed: numbers and codes, nothing that tenants wrote.

A training is told by its number and its id, with its tenant when it is accepted; a document by its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from doctrain_coordinator import metrics
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import ErrorClass, TrainingState

log = logging.getLogger("doctrain_coordinator.trainings")
_CLASSES: dict[int, str] = {known: known.name for known in ErrorClass}
MOST_NAMED = 10


def tell_accepted(training: int, task_id: str, tenant_id: str, documents: int, *, partial: bool = False) -> None:
    """A training is stored; ``partial``: more of its documents follow."""
    metrics.TRAININGS_ACCEPTED.add(1)
    log.info(
        "Training %d was accepted: %s of tenant %s; documents%s: %d.", training, task_id, tenant_id, " so far" if partial else "", documents
    )


def tell_ended(training: int, task_id: str, state: TrainingState, *, total: int, completed: int, failed: int) -> None:
    """A training has ended."""
    metrics.TRAININGS_ENDED.add(1, state.name.lower())
    said = state.name.lower().replace("_", " ")
    log.info("Training %d (%s) ended as %s; documents: %d, trained: %d, failed: %d.", training, task_id, said, total, completed, failed)


class Outcomes:
    """What one transaction records; ``tell`` it once it is committed."""

    def __init__(self) -> None:
        self._failed: dict[tuple[int, int, str], list[int]] = {}
        self._task_ids: dict[int, str] = {}
        self._ended: list[TrainingRow] = []
        self._done = self._unchanged = self._retries = 0

    def done(self, documents: int) -> None:
        """Counts documents that are trained, those included that were found to be trained already."""
        self._done += documents

    def unchanged(self, documents: int) -> None:
        """Counts those among the trained documents that were trained already."""
        self._unchanged += documents

    def retried(self, tries: int) -> None:
        """Counts tries of documents that failed before their last one."""
        self._retries += tries

    def failed(self, training: int, ordinal: int, error_class: int, code: str) -> None:
        """A document failed."""
        self._failed.setdefault((training, error_class, code), []).append(ordinal)

    def ended(self, rows: Iterable[TrainingRow]) -> None:
        """The outcomes of the trainings that the transaction ended, given its rows; they are all that it locked."""
        for row in rows:
            self._task_ids[row.id] = row.task_id
            if row.ended:
                self._ended.append(row)

    def tell(self) -> None:
        """Counts the documents; then a line for each kind of failure within a training, and one for each training that ended."""
        metrics.DOCUMENTS.add(self._done - self._unchanged, "trained", "")
        metrics.DOCUMENTS.add(self._unchanged, "unchanged", "")
        metrics.RETRIES.add(self._retries)
        for (training, error_class, code), ordinals in self._failed.items():
            metrics.DOCUMENTS.add(len(ordinals), "failed", _CLASSES.get(error_class, "other").lower())
            why = f"{_CLASSES.get(error_class, str(error_class))} {code}"
            named = ", ".join(map(str, sorted(ordinals)[:MOST_NAMED]))
            task_id = self._task_ids.get(training, "")
            if len(ordinals) == 1:
                log.info("Document %s of training %d (%s) failed: %s.", named, training, task_id, why)
            else:
                more = f" and {len(ordinals) - MOST_NAMED} more" if len(ordinals) > MOST_NAMED else ""
                log.info("Documents %s%s of training %d (%s) failed: %s.", named, more, training, task_id, why)
        for row in self._ended:
            tell_ended(row.id, row.task_id, row.state, total=row.total, completed=row.completed, failed=row.failed)
