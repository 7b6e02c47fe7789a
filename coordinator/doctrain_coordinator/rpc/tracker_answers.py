"""What workers are answered, as messages."""

from __future__ import annotations

from collections.abc import Sequence

from doctrain_coordinator.core.ledger import Begun, Recorded
from doctrain_coordinator.core.states import Order
from doctrain_coordinator.tracking.heartbeats import SessionStanding
from doctrain_coordinator.tracking.opened import Opened
from doctrain_coordinator.tracking.sessions import Attachment
from doctrain_mesh.v1 import tracker_pb2 as pb

_OUTCOMES = {
    Begun.BEGUN: pb.BEGIN_OUTCOME_BEGUN,
    Begun.NOT_YOURS: pb.BEGIN_OUTCOME_NOT_YOURS,
    Begun.SESSION_LOST: pb.BEGIN_OUTCOME_SESSION_LOST,
}
_RECORDED = {
    Recorded.RECORDED: pb.BLOCK_OUTCOME_RECORDED,
    Recorded.STALE: pb.BLOCK_OUTCOME_STALE,
    Recorded.INVALID: pb.BLOCK_OUTCOME_INVALID,
}
_ORDERS = {
    Order.YIELD: pb.ORDER_KIND_YIELD,
    Order.STOP: pb.ORDER_KIND_STOP,
    Order.CUT: pb.ORDER_KIND_CUT,
}


def welcome(attachment: Attachment, *, beat_seconds: float, lease_seconds: float) -> pb.Welcome:
    """A session, to the worker whose stream is attached to it."""
    return pb.Welcome(
        session=attachment.session,
        attached=attachment.attached,
        beat_ms=int(beat_seconds * 1000),
        lease_ms=int(lease_seconds * 1000),
        secret=attachment.secret,
        cordoned=attachment.cordoned,
    )


def begun(opened: Opened) -> pb.BeginAnswer:
    """A shard that is the worker's: its open documents in columns, and the training they belong to."""
    begun, facts, training = opened.begun, opened.begun.facts, opened.begun.training
    return pb.BeginAnswer(
        shard=_ref((facts.id, begun.number)),
        outcome=pb.BEGIN_OUTCOME_BEGUN,
        tenant=facts.tenant,
        tenant_id=opened.tenant_id,
        training=facts.training,
        training_task_id=training.task_id,
        index_order=training.index_order,
        width=begun.width,
        documents=_documents(opened),
        suspects=begun.suspects,
        cool_downs=begun.cool_downs,
        traceparent=training.traceparent,
        retrain=training.retrain,
        resize=begun.resize,
    )


def _documents(opened: Opened) -> pb.OpenDocuments:
    training = opened.begun.training
    documents = pb.OpenDocuments(run_first=[first for first, _ in opened.runs], run_count=[count for _, count in opened.runs])
    if training.uri_template is not None:
        documents.uri_template, documents.number_offset = training.uri_template, training.number_offset
    documents.document_ids.extend(opened.document_ids)
    documents.uris.extend(opened.uris)
    documents.media_types.extend(opened.media_types)
    documents.metadata.extend(opened.metadata)
    return documents


def not_begun(hold: tuple[int, int], outcome: Begun) -> pb.BeginAnswer:
    """A shard that is not the worker's."""
    return pb.BeginAnswer(shard=_ref(hold), outcome=_OUTCOMES[outcome])


def block(sequence: int, hold: tuple[int, int], outcome: Recorded, done: bool, invalid: Sequence[int]) -> pb.BlockAnswer:
    """What came of a block that was reported of a hold, which is (shard, number)."""
    return pb.BlockAnswer(sequence=sequence, shard=_ref(hold), outcome=_RECORDED[outcome], invalid=invalid, shard_done=done)


def heartbeat(sequence: int, standing: SessionStanding) -> pb.HeartbeatAnswer:
    """What stands of a session: orders, widths, and shards that are not its own."""
    return pb.HeartbeatAnswer(
        sequence=sequence,
        session_lost=standing.beat is None,
        orders=[pb.Order(shard=_ref((shard, number)), kind=_ORDERS[kind]) for shard, number, kind in standing.orders],
        not_yours=[_ref(hold) for hold in standing.not_yours],
        cordoned=standing.cordoned,
        resizes=[pb.Resize(shard=_ref((shard, number)), width=width, resize=resize) for shard, number, width, resize in standing.resizes],
    )


def _ref(hold: tuple[int, int]) -> pb.ShardRef:
    return pb.ShardRef(shard=hold[0], number=hold[1])
