"""Trainings and documents as messages of doctrain.v1."""

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
from doctrain_coordinator.trainings.views import DocumentView, TrainingView
from doctrain_mesh.observability import telemetry


def training(seen: Seen) -> pb.Training:
    """A training as it stands."""
    of = seen.training
    message = pb.Training(
        training_task_id=of.task_id,
        state=pb.TrainingState.ValueType(of.state),
        total=of.total,
        completed=of.completed,
        failed=of.failed,
        in_progress=of.in_progress,
        sealed=of.sealed,
        last_processed_id=_last_processed(of),
        message=sentence(
            of.state,
            total=of.total,
            completed=of.completed,
            failed=of.failed,
            sealed=of.sealed,
            paused=of.paused or of.suspended,
            unchanged=of.unchanged,
        ),
        waiting_reason=seen.waiting,
        reason=of.reason or "",
        version=of.version,
        trace_id=telemetry.trace_id_of(of.traceparent),
        paused=(of.paused or of.suspended) and not of.state.ended,
        retry_of=of.retry_of or "",
        documents_per_second=of.pace,
        unchanged=of.unchanged,
    )
    message.create_time.FromDatetime(of.created_at)
    if of.started_at is not None:
        message.start_time.FromDatetime(of.started_at)
    if of.ended_at is not None:
        message.end_time.FromDatetime(of.ended_at)
    return message


def _last_processed(of: TrainingView) -> str:
    last = (of.total if of.first_open is None else of.first_open) - 1
    if last < 0:
        return ""
    return str(last + of.number_offset) if of.uri_template is not None else of.last_id or ""


def document(view: DocumentView, of: TrainingView, under_way: UnderWay | None = None) -> pb.Document:
    """A document of the training ``of``."""
    number = str(view.ordinal + of.number_offset)
    message = pb.Document(
        document_id=view.document_id or number,
        uri=view.uri or (of.uri_template or "").replace("{n}", number),
        state=pb.DocumentState.ValueType(view.shown),
        attempt=view.attempt,
        tries=view.tries,
        metadata=json.loads(view.metadata) if view.metadata else {},
        trace_id=telemetry.trace_id_of(of.traceparent),
        losses=view.losses,
        unchanged=view.unchanged,
    )
    if view.state == DocumentState.FAILED:
        message.error.CopyFrom(
            pb.DocumentError(error_class=pb.ErrorClass.ValueType(view.error_class), code=view.error_code or "", message=view.error or "")
        )
    if view.started_at is not None:
        message.duration.FromTimedelta(timedelta(milliseconds=view.took_ms or 0))
        _add_stages(message, view.started_at, restored(view.stages))
    elif under_way is not None:
        _add_stages(message, datetime.fromtimestamp(under_way.began_ms / 1000, UTC), under_way.stages)
    return message


def _add_stages(message: pb.Document, began: datetime, stages: Iterable[Stage]) -> None:
    message.start_time.FromDatetime(began)
    for stage in stages:
        passed = message.stages.add(name=stage.name, counts=stage.counts, unread=stage.unread)
        passed.start_time.FromDatetime(began + timedelta(milliseconds=stage.start_ms))
        passed.duration.FromTimedelta(timedelta(milliseconds=stage.took_ms))


def explained(found: Explained) -> pb.ExplainTrainingResponse:
    """What holds a training; who is ahead is told with the rule that makes it wait for them."""
    response = pb.ExplainTrainingResponse(
        training=training(found.seen),
        plan_slots=found.limit.slots,
        plan_slots_reason=found.limit.reason,
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
