"""What workers say, checked and put into the service's own terms."""

from __future__ import annotations

from collections.abc import Iterable

from doctrain_coordinator.core.blocks import Block, Failure
from doctrain_coordinator.core.stages import Stage, stored
from doctrain_coordinator.tracking.sessions import Opening
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.v1 import tracker_pb2 as pb

MAX_NAME = 200
MOST_LANES = 256
MOST_AT_ONCE = 2_000
"""Of begins, blocks, held shards or hand-backs in one message: many times what a worker of the most lanes has."""


def opening(hello: pb.Hello) -> Opening:
    """The stream that a worker opens. Raises InvalidRequestError for what no worker says."""
    if not hello.worker_id.isprintable() or len(hello.worker_id) > MAX_NAME:
        raise InvalidRequestError(f"A worker_id is 1 to {MAX_NAME} characters that can be shown.")
    if not 1 <= hello.lanes <= MOST_LANES:
        raise InvalidRequestError(f"A worker has 1 to {MOST_LANES} lanes.")
    if not hello.version.isprintable() or len(hello.version) > MAX_NAME:
        raise InvalidRequestError(f"A version is at most {MAX_NAME} characters that can be shown.")
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


def block(given: pb.Block) -> Block:
    """Results as they were reported; what is wrong with them is mended later."""
    return Block(
        given.first,
        given.base_ms,
        list(given.started),
        list(given.took),
        [Failure(f.ordinal, f.error_class, f.code, f.message) for f in given.failed],
        list(given.running),
        list(zip(given.retried, given.tries, strict=False)),
        [(of.ordinal, _stages(of.stages)) for of in given.passed],
        list(given.unchanged),
        [(of.ordinal, of.started, _stages(of.stages)) for of in given.under_way.documents] if given.HasField("under_way") else None,
    )


def _stages(stages: Iterable[pb.Stage]) -> str:
    return stored(Stage(s.name, s.start_ms, s.took_ms, s.counts) for s in stages)
