"""The worker's own values of what it says and hears, and protobuf of them."""

from __future__ import annotations

from collections.abc import Mapping

from doctrain_coordinator.rpc import wire
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from doctrain_worker.core.results import Columns, FailedResult, Stage
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.sandbox.shared.memory import Predecessor
from doctrain_worker.tracking import messages
from doctrain_worker.tracking.exchange import (
    Begin,
    Begun,
    Block,
    BlockOutcome,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    NotBegun,
    Order,
    Resize,
    Said,
    Stopped,
    Trial,
    UnderWay,
    Yield,
)

REF = pb.ShardRef(shard=5, number=2)


def documents(**columns: object) -> Mapping[int, DocumentTask]:
    answer = pb.BeginAnswer(shard=REF, outcome=pb.BEGIN_OUTCOME_BEGUN, documents=pb.OpenDocuments(**columns))  # type: ignore[arg-type]
    ((key, begun),) = messages.heard(pb.TrackResponse(begins=[answer])).begins
    assert key == (5, 2)
    assert isinstance(begun, Begun)
    return begun.documents


def test_numbered_documents_are_made_from_their_template() -> None:
    found = documents(run_first=[0, 10], run_count=[2, 1], uri_template="s3://b/{n}.pdf", number_offset=100)
    assert list(found) == [0, 1, 10]
    task = found[10]
    assert (task.ordinal, task.document_id, task.uri) == (10, "110", "s3://b/110.pdf")


def test_columns_are_found_across_gaps() -> None:
    found = documents(
        run_first=[4, 9],
        run_count=[2, 2],
        document_ids=["a", "b", "c", "d"],
        uris=["ua", "ub", "uc", "ud"],
        media_types=["", "", "text/x", ""],
    )
    assert [task.document_id for task in found.values()] == ["a", "b", "c", "d"]
    task = found[9]
    assert (task.uri, task.media_type, task.metadata) == ("uc", "text/x", "")


def test_each_question_goes_where_the_tracker_looks_for_it() -> None:
    said = Said([Begin((1, 1)), Trial((2, 1), 7), Yield((3, 1), 1.5, "because"), Stopped((4, 1))])
    (made,) = messages.requests(said, Heartbeat(9, {(1, 1): 3, (2, 1): 0}, draining=True, unsubscribed=True), "the worker goes away")
    assert [begin.shard.shard for begin in made.begins] == [1]
    assert [(trial.shard.shard, trial.ordinal) for trial in made.trials] == [(2, 7)]
    assert [(back.shard.shard, back.delay_ms, back.reason) for back in made.yields] == [(3, 1500, "because")]
    assert [stopped.shard.shard for stopped in made.stopped] == [4]
    assert (made.heartbeat.sequence, made.heartbeat.draining, made.heartbeat.unsubscribed) == (9, True, True)
    assert list(made.heartbeat.held) == [pb.HeldShard(shard=1, number=1, resize=3), pb.HeldShard(shard=2, number=1)]
    assert made.goodbye.reason == "the worker goes away"
    assert [empty.ByteSize() for empty in messages.requests(None, None, None)] == [0]


def test_a_block_is_told_whole() -> None:
    stage = Stage("fetch", 1, 2, {"bytes": 3}, "a.pdf: ENCRYPTED")
    columns = Columns(4, [1, 2], [3, 4], [FailedResult(5, 2, "CODE", "A sentence.")], [(5, 3)], [(4, [stage])], [4])
    (made,) = messages.requests(Said(blocks=[Block(8, (5, 2), 1000, columns, [6], [UnderWay(6, 50, [stage])])]), None, None)
    (block,) = made.blocks
    told = pb.Stage(name="fetch", start_ms=1, took_ms=2, counts={"bytes": 3}, unread="a.pdf: ENCRYPTED")
    assert block == pb.Block(
        sequence=8,
        shard=REF,
        first=4,
        base_ms=1000,
        started=[1, 2],
        took=[3, 4],
        failed=[pb.FailedDocument(ordinal=5, error_class=2, code="CODE", message="A sentence.")],
        running=[6],
        retried=[5],
        tries=[3],
        passed=[pb.DocumentStages(ordinal=4, stages=[told])],
        unchanged=[4],
        under_way=pb.UnderWay(documents=[pb.DocumentUnderWay(ordinal=6, started=50, stages=[told])]),
    )


def test_results_that_are_too_many_for_one_message_are_told_in_several() -> None:
    stages = [Stage(f"stage {n}", 1, 2, {"bytes": 3, "pages": 4}) for n in range(8)]
    columns = Columns(0, [1] * 500, [3] * 500, [], [], [(n, stages) for n in range(500)])
    blocks = [Block(n, (n, 1), 1000, columns, [], None) for n in range(1, 21)]
    made = list(messages.requests(Said([Begin((99, 1))], blocks), None, "the worker goes away"))
    assert [block.sequence for one in made for block in one.blocks] == list(range(1, 21))
    assert [len(one.begins) for one in made] == [1, *[0] * (len(made) - 1)]
    assert [one.goodbye.reason != "" for one in made] == [*[False] * (len(made) - 1), True]
    assert 1 < len(made) < 20
    assert all(wire.count(one.SerializeToString(), one, 2**20) <= 2 * messages.MOST_FIELDS for one in made)


def test_that_none_is_under_way_any_more_is_not_the_same_as_no_word_of_it() -> None:
    unsaid, none = None, list[UnderWay]()
    for under_way in (unsaid, none):
        block = Block(1, (5, 2), 0, Columns(0, [], [], [], []), [], under_way)
        (told,) = messages.requests(Said(blocks=[block]), None, None)
        (made,) = told.blocks
        assert made.HasField("under_way") is (under_way is not None)


def test_a_worker_that_has_a_session_asks_for_it_and_one_that_has_none_names_its_predecessor() -> None:
    before = Predecessor(3, self_fenced=True, secret=b"old")
    again = messages.opening(Hello("w", 2, "1", 4, b"own", before)).hello
    assert (again.session, again.secret, again.predecessor, again.lanes) == (4, b"own", 0, 2)
    new = messages.opening(Hello("w", 2, "1", 0, b"", before)).hello
    assert (new.session, new.secret, new.predecessor, new.predecessor_end) == (0, b"old", 3, pb.PREDECESSOR_END_SELF_FENCED)


def test_what_a_later_version_answers_beside_is_passed_over() -> None:
    heard = messages.heard(
        pb.TrackResponse(
            begins=[pb.BeginAnswer(shard=REF), pb.BeginAnswer(shard=REF, outcome=pb.BEGIN_OUTCOME_SESSION_LOST)],
            blocks=[pb.BlockAnswer(sequence=1, outcome=9), pb.BlockAnswer(sequence=2, outcome=pb.BLOCK_OUTCOME_STALE)],  # type: ignore[arg-type]
            heartbeat=pb.HeartbeatAnswer(
                sequence=7,
                orders=[pb.Order(shard=REF), pb.Order(shard=REF, kind=pb.ORDER_KIND_STOP)],
                resizes=[pb.Resize(shard=REF, width=3, resize=1)],
            ),
        )
    )
    assert [answer for _, answer in heard.begins] == [NotBegun.NOT_YOURS, NotBegun.SESSION_LOST]
    assert [answer.outcome for answer in heard.blocks] == [BlockOutcome.RECORDED, BlockOutcome.STALE]
    orders, resizes = [((5, 2), Order.STOP)], [((5, 2), Resize(3, 1))]
    assert heard.heartbeat == HeartbeatAnswer(7, session_lost=False, orders=orders, not_yours=[], cordoned=False, resizes=resizes)


def test_a_message_that_is_no_shards_names_none() -> None:
    assert messages.delivered(ShardMessage(shard=5, number=2).SerializeToString()) == (5, 2)
    assert messages.delivered(ShardMessage(shard=5).SerializeToString()) is None
    assert messages.delivered(b"\xff") is None
