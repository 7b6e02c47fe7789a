"""Workers as operators see them: what Postgres knows, what the worker says of itself, and what was ordered of it."""

from __future__ import annotations

from datetime import timedelta

from doctrain.v1 import fleet_pb2 as pb
from doctrain_coordinator.core.load import Load
from doctrain_coordinator.tracking.worker_orders import WorkerOrder
from doctrain_coordinator.tracking.workers import LiveSession

NOTHING_SAID = Load()


def worker(session: LiveSession, record: Load | None, order: WorkerOrder | None, silent_seconds: float) -> pb.Worker:
    """A worker in session; ``record`` is what the registry has of it."""
    said = record or NOTHING_SAID
    health, reason = _health(session, order)
    shown = pb.Worker(
        worker_id=session.worker_id,
        session_id=session.id,
        lanes=session.lanes,
        lanes_in_use=session.lanes_in_use,
        slots_in_use=session.slots,
        draining=session.draining,
        version=session.version,
        cpu=_known(said.cpu),
        memory_bytes=int(_known(said.memory_bytes)),
        registered=record is not None,
        health=health,
        health_reason=reason,
        boot_id=said.boot_id,
        memory_share=_known(said.memory_share),
        disk_free_share=_known(said.disk_free_share),
        loop_lag_seconds=_known(said.loop_lag_seconds),
        children=int(_known(said.children)),
        documents_per_second=_known(said.documents_per_second),
        failure_share=_known(said.failure_share),
    )
    shown.open_time.FromDatetime(session.opened_at)
    if session.gone or session.silence > silent_seconds:
        shown.silence.FromTimedelta(timedelta(seconds=max(0.0, session.silence)))
    return shown


def absent(order: WorkerOrder) -> pb.Worker:
    """A worker under an order that is not in session."""
    health, reason = _ordered(order)
    return pb.Worker(
        worker_id=order.worker_id,
        cpu=-1,
        memory_bytes=-1,
        health=health,
        health_reason=reason,
        memory_share=-1,
        disk_free_share=-1,
        loop_lag_seconds=-1,
        children=-1,
        documents_per_second=-1,
        failure_share=-1,
    )


def _health(session: LiveSession, order: WorkerOrder | None) -> tuple[pb.WorkerHealth.ValueType, str]:
    if order is not None:
        return _ordered(order)
    if session.unsubscribed:
        return pb.WORKER_HEALTH_UNSUBSCRIBED, "Its connection to RabbitMQ is lost."
    if session.unfit is None:
        return pb.WORKER_HEALTH_FIT, ""
    return (pb.WORKER_HEALTH_SPARED if session.spared else pb.WORKER_HEALTH_UNFIT), session.unfit


def _ordered(order: WorkerOrder) -> tuple[pb.WorkerHealth.ValueType, str]:
    why = f": {order.reason}" if order.reason else ""
    if order.drains:
        return pb.WORKER_HEALTH_DRAINING, f"Drained by the operator with key {order.ordered_by}{why}"
    return pb.WORKER_HEALTH_CORDONED, f"Cordoned by the operator with key {order.ordered_by}{why}"


def _known(value: float | None) -> float:
    return -1.0 if value is None else value
