"""Trainings and documents as Postgres tells of them to those who look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.core.states import TrainingState


@dataclass(frozen=True, slots=True)
class TrainingView:
    """A training as it stands; its counts are of documents, ``in_flight`` and ``running`` of shards.

    Args:
        retry_of: the id of the training whose documents these were first.
        uri_template: None unless its documents differ by number only; a document's number is its ordinal and ``number_offset``.
        in_progress: documents that run.
        first_open: the ordinal of the first open document, None when none is open.
        last_id: the id of the document before that one, None where there is none or it has a number.
        under_way: what ``core.stages.restored_under_way`` reads.
        paused: by its tenant; ``suspended``: with its tenant.
        pace: documents a second.
    """

    id: int
    tenant: int
    task_id: str
    state: TrainingState
    paused: bool
    suspended: bool
    retry_of: str | None
    sealed: bool
    total: int
    completed: int
    failed: int
    unchanged: int
    version: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    traceparent: str
    uri_template: str | None
    number_offset: int
    in_progress: int
    in_flight: int
    running: int
    first_open: int | None
    last_id: str | None
    under_way: str | None
    pace: float


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document; ``shown`` is its state as tenants are told it (``core.states.ShownState``).

    ``document_id`` and ``uri`` are None where documents differ by number only. ``metadata`` is JSON; ``stages`` is what
    ``core.stages.restored`` reads.
    """

    ordinal: int
    state: int
    shown: int
    attempt: int
    tries: int
    losses: int
    document_id: str | None
    uri: str | None
    metadata: str | None
    unchanged: bool
    started_at: datetime | None = None
    took_ms: int | None = None
    stages: str | None = None
    error_class: int = 0
    error_code: str | None = None
    error: str | None = None
