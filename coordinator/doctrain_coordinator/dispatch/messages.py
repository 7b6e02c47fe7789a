"""Grants as messages of the broker, made and read."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry import trace

from doctrain_mesh.observability import telemetry
from doctrain_mesh.ports import Message
from doctrain_mesh.postgres import Record
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage


def of_shard(shard: Record, tenant_name: str, plan: str, training: Record) -> Message:
    """The message of a grant; ``shard`` carries ``last_processed``, the last of its ended prefix, null where there is none."""
    body = ShardMessage(
        tenant_id=tenant_name,
        training_task_id=training["task_id"],
        pricing_plan=plan,
        shard=shard["id"],
        number=shard["number"],
        first=shard["first"],
        count=shard["count"],
        max_concurrency=shard["width"],
        last_processed_ordinal=-1 if shard["last_processed"] is None else shard["last_processed"],
        shard_number=shard["shard_number"],
    )
    headers: dict[str, str] = {}
    if training["traceparent"]:
        attributes = {"doctrain.shard": shard["id"], "doctrain.number": shard["number"], "doctrain.tenant_id": tenant_name}
        with telemetry.span("shard publish", parent=training["traceparent"], kind=trace.SpanKind.PRODUCER, attributes=attributes):
            headers = telemetry.headers()
    return Message(body.SerializeToString(), headers, f"{shard['id']}:{shard['number']}")


def grant_of(message: Message) -> tuple[int, int]:
    """Its (shard, number), or (0, 0) for what carries no grant."""
    try:
        found = ShardMessage.FromString(message.body)
    except DecodeError:
        return 0, 0
    return (found.shard, found.number) if found.shard > 0 and found.number > 0 else (0, 0)
