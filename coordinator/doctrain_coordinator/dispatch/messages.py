"""Grants as messages of the broker, made and read."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry import trace

from doctrain_mesh.observability import telemetry
from doctrain_mesh.ports import Message
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage


@dataclass(frozen=True, slots=True)
class Granted:
    """A shard that was granted; ``last_processed`` is the last ordinal of its ended prefix, None where there is none."""

    shard: int
    number: int
    first: int
    count: int
    width: int
    shard_number: int
    last_processed: int | None
    tenant_id: str
    plan: str
    task_id: str
    traceparent: str


def of_grant(granted: Granted) -> Message:
    """The message that offers it to the workers."""
    body = ShardMessage(
        tenant_id=granted.tenant_id,
        training_task_id=granted.task_id,
        pricing_plan=granted.plan,
        shard=granted.shard,
        number=granted.number,
        first=granted.first,
        count=granted.count,
        max_concurrency=granted.width,
        last_processed_ordinal=-1 if granted.last_processed is None else granted.last_processed,
        shard_number=granted.shard_number,
    )
    headers: dict[str, str] = {}
    if granted.traceparent:
        attributes = {"doctrain.shard": granted.shard, "doctrain.number": granted.number, "doctrain.tenant_id": granted.tenant_id}
        with telemetry.span("shard publish", parent=granted.traceparent, kind=trace.SpanKind.PRODUCER, attributes=attributes):
            headers = telemetry.headers()
    return Message(body.SerializeToString(), headers, f"{granted.shard}:{granted.number}")


def grant_of(message: Message) -> tuple[int, int]:
    """Its (shard, number), or (0, 0) for what carries no grant."""
    try:
        found = ShardMessage.FromString(message.body)
    except DecodeError:
        return 0, 0
    return (found.shard, found.number) if found.shard > 0 and found.number > 0 else (0, 0)
