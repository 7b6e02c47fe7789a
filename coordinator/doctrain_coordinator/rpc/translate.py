"""Rows of Postgres as messages of doctrain.v1."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core.holding import Rule
from doctrain_coordinator.core.progress import sentence
from doctrain_coordinator.core.stages import Stage, UnderWay, restored
from doctrain_coordinator.core.states import DocumentState
from doctrain_coordinator.trainings.reading import Explained, Seen
from doctrain_mesh.observability import telemetry
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
        message=sentence(
            seen.state,
            total=row["total"],
            completed=row["completed"],
            failed=row["failed"],
            sealed=row["sealed"],
            paused=row["paused"],
            unchanged=row["unchanged"],
        ),
        waiting_reason=seen.waiting,
        reason=row["reason"] or "",
        version=row["version"],
        trace_id=telemetry.trace_id_of(row["traceparent"]),
        paused=row["paused"] and not seen.state.ended,
        retry_of=row["retry_of"] or "",
        documents_per_second=row["pace"],
        unchanged=row["unchanged"],
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


def document(row: Record, of: Record, under_way: UnderWay | None = None) -> pb.Document:
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
        trace_id=telemetry.trace_id_of(of["traceparent"]),
        losses=row["losses"],
        unchanged=row["unchanged"],
    )
    if row["state"] == DocumentState.FAILED:
        message.error.CopyFrom(
            pb.DocumentError(
                error_class=pb.ErrorClass.ValueType(row["error_class"]), code=row["error_code"] or "", message=row["error"] or ""
            )
        )
    if row["started_at"] is not None:
        message.duration.FromTimedelta(timedelta(milliseconds=row["took_ms"] or 0))
        _add_stages(message, row["started_at"], restored(row["stages"]))
    elif under_way is not None:
        _add_stages(message, datetime.fromtimestamp(under_way.began_ms / 1000, UTC), under_way.stages)
    return message


def _add_stages(message: pb.Document, began: datetime, stages: Iterable[Stage]) -> None:
    message.start_time.FromDatetime(began)
    for stage in stages:
        passed = message.stages.add(name=stage.name, counts=stage.counts)
        passed.start_time.FromDatetime(began + timedelta(milliseconds=stage.start_ms))
        passed.duration.FromTimedelta(timedelta(milliseconds=stage.took_ms))


def explained(found: Explained) -> pb.ExplainTrainingResponse:
    """What holds a training; who is ahead is told with the rule that makes it wait for them."""
    response = pb.ExplainTrainingResponse(
        training=training(found.seen),
        plan_slots=found.plan_slots,
        slots_in_use=found.own_slots,
        slots_in_use_by_others=found.others_slots,
    )
    for hold in found.holds:
        message = response.holds.add(rule=pb.HoldRule.ValueType(hold.rule), message=hold.sentence, advice=hold.advice)
        if hold.seconds is not None:
            message.until.FromDatetime(datetime.now(UTC) + timedelta(seconds=hold.seconds))
        if hold.rule is Rule.PLAN_LIMIT:
            message.ahead.extend(pb.TrainingAhead(training_task_id=task_id, slots=slots) for task_id, slots in found.ahead)
    return response
