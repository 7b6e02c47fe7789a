"""What workers say, checked and put into the service's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from doctrain_coordinator.core.blocks import Block, Failure
from doctrain_coordinator.core.stages import MOST_DOCUMENTS, Stage, stored
from doctrain_coordinator.tracking.sessions import Opening
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.shown import code, sentence
from doctrain_mesh.v1 import tracker_pb2 as pb

MAX_NAME = 200
MOST_LANES = 256
MOST_AT_ONCE = 2_000
"""Of begins, blocks, held shards or hand-backs in one message: many times what a worker of the most lanes has.

Of documents in one block, too: no shard has half as many.
"""
MOST_SECRET_BYTES = 64
LONGEST_MESSAGE = 2_000
"""Characters of why a document failed; the rest is cut off."""
FEW_DOCUMENTS = 200
"""The stages and failures of so many documents are put into our terms in no time."""


def opening(hello: pb.Hello) -> Opening:
    """The stream that a worker opens. Raises InvalidRequestError for what no worker says."""
    if len(hello.worker_id) > MAX_NAME or not hello.worker_id.isprintable():
        raise InvalidRequestError(f"A worker_id is 1 to {MAX_NAME} characters that can be shown.")
    if not 1 <= hello.lanes <= MOST_LANES:
        raise InvalidRequestError(f"A worker has 1 to {MOST_LANES} lanes.")
    if len(hello.version) > MAX_NAME or not hello.version.isprintable():
        raise InvalidRequestError(f"A version is at most {MAX_NAME} characters that can be shown.")
    if len(hello.secret) > MOST_SECRET_BYTES:
        raise InvalidRequestError(f"A session's secret has at most {MOST_SECRET_BYTES} bytes.")
    return Opening(
        hello.worker_id,
        hello.lanes,
        hello.version,
        hello.session,
        hello.predecessor,
        hello.predecessor_end == pb.PREDECESSOR_END_DIED,
        hello.secret,
    )


def check(request: pb.TrackRequest) -> None:
    """Raises InvalidRequestError for more of something than any worker has to say at once."""
    for what, named in (
        ("begins", request.begins),
        ("held shards", request.heartbeat.held),
        ("blocks", request.blocks),
        ("trials", request.trials),
        ("yields", request.yields),
        ("stopped shards", request.stopped),
    ):
        if len(named) > MOST_AT_ONCE:
            raise InvalidRequestError(f"There are {len(named):,} {what}; a worker names at most {MOST_AT_ONCE:,} in one message.")
    for given in request.blocks:
        for what, told in _told(given):
            if len(told) > MOST_AT_ONCE:
                raise InvalidRequestError(f"A block tells {what} of {len(told):,} documents; no shard has more than {MOST_AT_ONCE:,}.")


def _told(given: pb.Block) -> Iterator[tuple[str, Sequence[object]]]:
    """What a block tells of documents one by one. Of those under way, more than are kept may be told."""
    yield "the start", given.started
    yield "the duration", given.took
    yield "the failure", given.failed
    yield "the running", given.running
    yield "the retry", given.retried
    yield "the tries", given.tries
    yield "the stages", given.passed
    yield "no change", given.unchanged


async def blocks(request: pb.TrackRequest) -> list[Block]:
    """As ``block``, of all; in a thread where much has to be put into our terms: others should not wait for that."""
    told = sum(len(given.failed) + len(given.passed) + len(given.under_way.documents) for given in request.blocks)
    if told > FEW_DOCUMENTS:
        return await asyncio.to_thread(_blocks, request)
    return _blocks(request)


def _blocks(request: pb.TrackRequest) -> list[Block]:
    return [block(given) for given in request.blocks]


def block(given: pb.Block) -> Block:
    """Results as they were reported; what is wrong with them is mended later."""
    return Block(
        given.first,
        given.base_ms,
        list(given.started),
        list(given.took),
        [Failure(f.ordinal, f.error_class, code(f.code), sentence(f.message, LONGEST_MESSAGE)) for f in given.failed],
        list(given.running),
        list(zip(given.retried, given.tries, strict=False)),
        [(of.ordinal, _stages(of.stages)) for of in given.passed],
        list(given.unchanged),
        _under_way(given.under_way) if given.HasField("under_way") else None,
    )


def _under_way(given: pb.UnderWay) -> list[tuple[int, int, str]]:
    return [(of.ordinal, of.started, _stages(of.stages)) for of in islice(given.documents, MOST_DOCUMENTS)]


def _stages(stages: Iterable[pb.Stage]) -> str:
    return stored(Stage(s.name, s.start_ms, s.took_ms, s.counts, s.unread) for s in stages)
