"""What is taken of what a worker says, and what is refused, before any of it is gone over."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from doctrain_coordinator.core.blocks import Failure
from doctrain_coordinator.core.stages import MOST_DOCUMENTS, Stage, restored
from doctrain_coordinator.rpc import tracker_requests
from doctrain_coordinator.rpc.tracker_requests import FEW_DOCUMENTS, LONGEST_MESSAGE, MOST_AT_ONCE, MOST_SECRET_BYTES
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.v1 import tracker_pb2 as pb

STAGES = [pb.Stage(name="fetch", took_ms=5, counts={"bytes": 7})]
LARGEST_SHARD = 1_000


def whole(documents: int) -> pb.Block:
    """A block that tells all that can be told of so many documents."""
    ordinals = range(documents)
    return pb.Block(
        started=ordinals,
        took=ordinals,
        failed=[pb.FailedDocument(ordinal=ordinal, code="BROKEN") for ordinal in ordinals],
        running=ordinals,
        retried=ordinals,
        tries=ordinals,
        passed=[pb.DocumentStages(ordinal=ordinal, stages=STAGES) for ordinal in ordinals],
        unchanged=ordinals,
        under_way=pb.UnderWay(documents=[pb.DocumentUnderWay(ordinal=ordinal, stages=STAGES) for ordinal in ordinals]),
    )


def test_a_block_of_the_largest_shard_is_taken_and_of_long_documents_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    request, stored = pb.TrackRequest(blocks=[whole(LARGEST_SHARD)]), list[None]()

    def count(stages: Iterable[Stage]) -> str:
        stored.append(None)
        return "[]"

    tracker_requests.check(request)
    monkeypatch.setattr(tracker_requests, "stored", count)
    block = tracker_requests.block(request.blocks[0])
    assert [len(told) for told in (block.started, block.failed, block.passed, block.tries)] == [LARGEST_SHARD] * 4
    assert block.under_way is not None
    assert [ordinal for ordinal, _, _ in block.under_way] == list(range(MOST_DOCUMENTS))
    assert len(stored) == LARGEST_SHARD + MOST_DOCUMENTS, "what is dropped is not put into our terms"


@pytest.mark.parametrize(
    ("what", "block"),
    [
        ("the start", pb.Block(started=[0] * (MOST_AT_ONCE + 1))),
        ("the duration", pb.Block(took=[0] * (MOST_AT_ONCE + 1))),
        ("the failure", pb.Block(failed=[pb.FailedDocument()] * (MOST_AT_ONCE + 1))),
        ("the running", pb.Block(running=[0] * (MOST_AT_ONCE + 1))),
        ("the retry", pb.Block(retried=[0] * (MOST_AT_ONCE + 1))),
        ("the tries", pb.Block(tries=[0] * (MOST_AT_ONCE + 1))),
        ("the stages", pb.Block(passed=[pb.DocumentStages()] * (MOST_AT_ONCE + 1))),
        ("no change", pb.Block(unchanged=[0] * (MOST_AT_ONCE + 1))),
    ],
)
def test_a_block_tells_of_no_more_documents_than_any_shard_has(what: str, block: pb.Block) -> None:
    with pytest.raises(InvalidRequestError, match=f"A block tells {what} of 2,001 documents"):
        tracker_requests.check(pb.TrackRequest(blocks=[pb.Block(), block]))


@pytest.mark.parametrize(("documents", "aside"), [(FEW_DOCUMENTS // 4, False), (FEW_DOCUMENTS, True)])
async def test_much_that_is_told_of_documents_is_put_into_our_terms_beside_the_loop(
    documents: int, aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, ours = set(), tracker_requests.block

    def block(given: pb.Block) -> object:
        threads.add(threading.get_ident())
        return ours(given)

    monkeypatch.setattr(tracker_requests, "block", block)
    request = pb.TrackRequest(blocks=[whole(documents), pb.Block(first=7)])
    first, second = await tracker_requests.blocks(request)
    assert (first.started, second.first) == (list(range(documents)), 7)
    assert list(restored(first.passed[-1][1])) == [Stage("fetch", 0, 5, {"bytes": 7})]
    assert (threading.get_ident() not in threads) is aside
    assert len(threads) == 1


@pytest.mark.parametrize("code", ["X\n2026-11-28 INFO doctrain_coordinator.rpc.deeds: Tenant a was deleted", "x", "", "A\x00B", "X" * 65])
def test_why_a_document_failed_is_a_constant_and_a_line_whatever_a_worker_says(code: str) -> None:
    told = [pb.FailedDocument(ordinal=3, error_class=2, code=code, message="It is\r\nlocked.\x1b[2K\x00" + "x" * 5_000)]
    told.append(pb.FailedDocument(ordinal=4, error_class=2, code="ENCRYPTED", message="It is locked."))
    hostile, sound = tracker_requests.block(pb.Block(started=[0] * 5, took=[0] * 5, failed=told)).failed
    assert (hostile.code, hostile.message[:23]) == ("OTHER", "It is locked.\ufffd[2K\ufffdxxxxx")
    assert len(hostile.message) <= LONGEST_MESSAGE
    assert sound == Failure(4, 2, "ENCRYPTED", "It is locked.")


@pytest.mark.parametrize(
    "hello",
    [
        pb.Hello(worker_id="w" * 201, lanes=1),
        pb.Hello(worker_id="w", lanes=1, version="v" * 201),
        pb.Hello(worker_id="w", lanes=1, secret=b"s" * (MOST_SECRET_BYTES + 1)),
    ],
    ids=["name", "version", "secret"],
)
def test_a_worker_says_no_more_of_itself_than_any_has_to_say(hello: pb.Hello) -> None:
    with pytest.raises(InvalidRequestError, match=r"at most|1 to 200"):
        tracker_requests.opening(hello)
