"""Rows of Postgres as messages of doctrain.v1."""

from __future__ import annotations

import json
from datetime import timedelta

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.progress import sentence
from doctrain_coordinator.core.states import DocumentState
from doctrain_coordinator.trainings import Seen
from doctrain_mesh import telemetry
from doctrain_mesh.postgres import Record


def training(seen: Seen) -> pb.Training:
    """A training as it stands."""
    row = seen.row
    message = pb.Training(
        training_task_id=row["task_id"],
        state=pb.TrainingState.ValueType(row["state"]),
        total=row["total"],
        completed=row["completed"],
        failed=row["failed"],
        in_progress=row["in_progress"],
        sealed=row["sealed"],
        last_processed_id=_last_processed(row),
        message=sentence(seen.state, total=row["total"], completed=row["completed"], failed=row["failed"], sealed=row["sealed"]),
        waiting_reason=seen.waiting,
        reason=row["reason"] or "",
        version=row["version"],
        trace_id=telemetry.trace_id_of(row["traceparent"]),
    )
    message.create_time.FromDatetime(row["created_at"])
    if row["started_at"] is not None:
        message.start_time.FromDatetime(row["started_at"])
    if row["ended_at"] is not None:
        message.end_time.FromDatetime(row["ended_at"])
    return message


def _last_processed(row: Record) -> str:
    last = (row["total"] if row["first_open"] is None else row["first_open"]) - 1
    if last < 0:
        return ""
    return str(last + row["number_offset"]) if row["uri_template"] is not None else row["last_id"] or ""


def document(row: Record, of: Record) -> pb.Document:
    """A document of the training ``of``; ``row`` carries ``shown``, its state as a tenant sees it."""
    number = str(row["ordinal"] + of["number_offset"])
    numbered = of["uri_template"] is not None
    message = pb.Document(
        document_id=number if numbered else row["document_id"],
        uri=of["uri_template"].replace("{n}", number) if numbered else row["uri"],
        state=pb.DocumentState.ValueType(row["shown"]),
        attempt=row["attempt"],
        tries=row["tries"],
        metadata=json.loads(row["metadata"]) if row["metadata"] else {},
    )
    if row["state"] == DocumentState.FAILED:
        message.error.CopyFrom(
            pb.DocumentError(
                error_class=pb.ErrorClass.ValueType(row["error_class"]), code=row["error_code"] or "", message=row["error"] or ""
            )
        )
    if row["started_at"] is not None:
        message.start_time.FromDatetime(row["started_at"])
        message.duration.FromTimedelta(timedelta(milliseconds=row["took_ms"] or 0))
    return message
