"""Protobuf of what the worker says, and the worker's own values of what it hears: only what carries the messages knows them beside.

What a later version may answer beside is passed over, as whoever waits for it would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, starmap

from google.protobuf.message import DecodeError

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from doctrain_worker.core.results import Stage
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.tracking.exchange import (
    Begin,
    Begun,
    Block,
    BlockAnswer,
    BlockOutcome,
    Heard,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Key,
    NotBegun,
    Order,
    Question,
    Resize,
    Said,
    Stopped,
    Trial,
    TrialAnswer,
    Welcome,
    Yield,
)

MOST_FIELDS = 2**17
"""Of the blocks of one message, if it has several: a quarter of what a coordinator takes."""
_BLOCK_OUTCOMES = {pb.BLOCK_OUTCOME_STALE: BlockOutcome.STALE, pb.BLOCK_OUTCOME_INVALID: BlockOutcome.INVALID}
_ORDERS = {pb.ORDER_KIND_YIELD: Order.YIELD, pb.ORDER_KIND_STOP: Order.STOP, pb.ORDER_KIND_CUT: Order.CUT}


def delivered(body: bytes) -> Key | None:
    """The grant that a message of the broker carries; None when it is no shard's."""
    try:
        message = ShardMessage.FromString(body)
    except DecodeError:
        return None
    return (message.shard, message.number) if message.shard > 0 and message.number > 0 else None


# What the worker says


def opening(hello: Hello) -> pb.TrackRequest:
    """The first request of a stream."""
    told = pb.Hello(worker_id=hello.worker_id, session=hello.session, lanes=hello.lanes, version=hello.version, secret=hello.secret)
    predecessor = hello.predecessor
    if not hello.session and predecessor.session:
        told.predecessor, told.secret = predecessor.session, predecessor.secret
        told.predecessor_end = pb.PREDECESSOR_END_SELF_FENCED if predecessor.self_fenced else pb.PREDECESSOR_END_DIED
    return pb.TrackRequest(hello=told)


def requests(said: Said | None, heartbeat: Heartbeat | None, goodbye: str | None) -> Iterator[pb.TrackRequest]:
    """Any others, in the order in which they are to be sent; one with nothing in it says that the worker lives.

    One is enough, but for more results than a coordinator takes in a message, as there may be after it was away.
    """
    made, fields = pb.TrackRequest(), 0
    if said is not None:
        for question in said.questions:
            _ask(made, question)
    if heartbeat is not None:
        named = [pb.HeldShard(shard=shard, number=number, resize=resize) for (shard, number), resize in heartbeat.held.items()]
        made.heartbeat.CopyFrom(
            pb.Heartbeat(sequence=heartbeat.number, held=named, draining=heartbeat.draining, unsubscribed=heartbeat.unsubscribed)
        )
    for block in said.blocks if said is not None else ():
        if made.blocks and fields + _fields(block) > MOST_FIELDS:
            yield made
            made, fields = pb.TrackRequest(), 0
        made.blocks.append(_block(block))
        fields += _fields(block)
    if goodbye is not None:
        made.goodbye.reason = goodbye
    yield made


def _fields(block: Block) -> int:
    """About how many fields its message has, as a coordinator counts them."""
    columns = block.columns
    of_stages = sum(2 + sum(5 + len(stage.counts) for stage in stages) for _, stages in columns.passed)
    return 2 * len(columns.started) + 5 * len(columns.failed) + 2 * len(columns.tries) + len(block.running) + of_stages


def _ask(made: pb.TrackRequest, question: Question) -> None:
    match question:
        case Begin(key):
            made.begins.append(pb.Begin(shard=_ref(key)))
        case Trial(key, ordinal):
            made.trials.append(pb.Trial(shard=_ref(key), ordinal=ordinal))
        case Yield(key, seconds, reason):
            made.yields.append(pb.Yield(shard=_ref(key), delay_ms=int(seconds * 1000), reason=reason))
        case Stopped(key):
            made.stopped.append(pb.Stopped(shard=_ref(key)))


def _ref(key: Key) -> pb.ShardRef:
    return pb.ShardRef(shard=key[0], number=key[1])


def _block(block: Block) -> pb.Block:
    columns = block.columns
    return pb.Block(
        sequence=block.sequence,
        shard=_ref(block.key),
        first=columns.first,
        base_ms=block.base_ms,
        started=columns.started,
        took=columns.took,
        failed=[pb.FailedDocument(ordinal=f.ordinal, error_class=f.error_class, code=f.code, message=f.message) for f in columns.failed],
        running=block.running,
        retried=[ordinal for ordinal, _ in columns.tries],
        tries=[tries for _, tries in columns.tries],
        passed=[pb.DocumentStages(ordinal=ordinal, stages=_stages(stages)) for ordinal, stages in columns.passed],
        unchanged=columns.unchanged,
        under_way=_under_way(block),
        urgent=block.urgent,
    )


def _under_way(block: Block) -> pb.UnderWay | None:
    if block.under_way is None:
        return None
    return pb.UnderWay(
        documents=[pb.DocumentUnderWay(ordinal=one.ordinal, started=one.started, stages=_stages(one.stages)) for one in block.under_way]
    )


def _stages(stages: Sequence[Stage]) -> list[pb.Stage]:
    return [pb.Stage(name=s.name, start_ms=s.start_ms, took_ms=s.took_ms, counts=s.counts, unread=s.unread) for s in stages]


# What a coordinator answers


def welcome(told: pb.Welcome) -> Welcome:
    """The first response of a stream."""
    return Welcome(told.session, told.secret, told.lease_ms / 1000, told.beat_ms / 1000, told.cordoned)


def heard(response: pb.TrackResponse) -> Heard:
    """Any other."""
    return Heard(
        [(_key(answer.shard), _begun(answer)) for answer in response.begins],
        [TrialAnswer(_key(one.shard), one.ordinal, one.outcome != pb.TRIAL_OUTCOME_REFUSED) for one in response.trial_answers],
        _keys(response.yields),
        _keys(response.stopped),
        [BlockAnswer(one.sequence, _BLOCK_OUTCOMES.get(one.outcome, BlockOutcome.RECORDED), one.shard_done) for one in response.blocks],
        _heartbeat_answer(response.heartbeat) if response.HasField("heartbeat") else None,
        response.draining,
    )


def _key(ref: pb.ShardRef) -> Key:
    return ref.shard, ref.number


def _keys(refs: Iterable[pb.ShardRef]) -> list[Key]:
    return [(ref.shard, ref.number) for ref in refs]


def _heartbeat_answer(answer: pb.HeartbeatAnswer) -> HeartbeatAnswer:
    orders = [(_key(order.shard), _ORDERS[order.kind]) for order in answer.orders if order.kind in _ORDERS]
    resizes = [(_key(one.shard), Resize(one.width, one.resize)) for one in answer.resizes]
    return HeartbeatAnswer(answer.sequence, answer.session_lost, orders, _keys(answer.not_yours), answer.cordoned, resizes)


def _begun(answer: pb.BeginAnswer) -> Begun | NotBegun:
    if answer.outcome != pb.BEGIN_OUTCOME_BEGUN:
        return NotBegun.SESSION_LOST if answer.outcome == pb.BEGIN_OUTCOME_SESSION_LOST else NotBegun.NOT_YOURS
    return Begun(
        _key(answer.shard),
        answer.tenant,
        answer.tenant_id,
        answer.training,
        answer.training_task_id,
        answer.index_order,
        answer.retrain,
        answer.width,
        _open_documents(answer.documents),
        list(answer.suspects),
        answer.cool_downs,
        answer.traceparent,
        answer.resize,
    )


def _open_documents(documents: pb.OpenDocuments) -> dict[int, DocumentTask]:
    """The open documents of a shard, from the columns or the template in which they are sent."""
    runs = zip(documents.run_first, documents.run_count, strict=True)
    ordinals = list(chain.from_iterable(range(first, first + count) for first, count in runs))
    none = [""] * len(ordinals)
    before, is_template, after = documents.uri_template.partition("{n}")
    if is_template:
        ids = [str(ordinal + documents.number_offset) for ordinal in ordinals]
        uris = [before + number + after for number in ids]
    else:
        ids, uris = list(documents.document_ids), list(documents.uris)
    rows = zip(ordinals, ids, uris, documents.media_types or none, documents.metadata or none, strict=True)
    return dict(zip(ordinals, starmap(DocumentTask, rows), strict=True))
