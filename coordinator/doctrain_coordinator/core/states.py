"""The states of trainings, shards, documents and sessions, and what an ended training is called (docs/states.md draws them).

The numbers stand in Postgres (``store/schema.sql``); those of trainings, failures and what is shown are ``doctrain.v1``'s. Statements
name them by these enums (``doctrain_mesh.postgres.statements``), and several of one row's by the groups here.
"""

from __future__ import annotations

from enum import IntEnum, nonmember


class TrainingState(IntEnum):
    """QUEUED and PROCESSING, the OPEN ones, may change; the others are final."""

    QUEUED = 1
    PROCESSING = 2
    COMPLETED = 3
    COMPLETED_WITH_FAILURES = 4
    FAILED = 5
    CANCELLED = 6
    OPEN = nonmember((QUEUED, PROCESSING))

    @property
    def ended(self) -> bool:
        return self > TrainingState.PROCESSING


class ShardState(IntEnum):
    """The states of a shard.

    Those IN_FLIGHT count with their width against the tenant's plan; those HELD are a session's; of those ENDED no document changes.
    """

    PENDING = 0
    DISPATCHED = 1
    RUNNING = 2
    STOPPING = 3
    DONE = 4
    CANCELLED = 5
    IN_FLIGHT = nonmember((DISPATCHED, RUNNING, STOPPING))
    HELD = nonmember((RUNNING, STOPPING))
    ENDED = nonmember((DONE, CANCELLED))


class DocumentState(IntEnum):
    """An OPEN document of a training that ended early reads as cancelled."""

    OPEN = 0
    DONE = 1
    FAILED = 2


class ShownState(IntEnum):
    """What tenants are told of a document (``doctrain.v1.DocumentState``)."""

    QUEUED = 1
    PROCESSING = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5


class ErrorClass(IntEnum):
    """The kinds of failures; newer workers may know more of them."""

    TRANSIENT = 1
    PERMANENT = 2
    RESOURCE = 3
    CRASH = 4


class SessionState(IntEnum):
    """LOST is final: a worker that finds its session LOST opens another."""

    LIVE = 1
    LOST = 2


class Order(IntEnum):
    """What a held shard is to do (``doctrain_mesh.v1.OrderKind``)."""

    YIELD = 1
    STOP = 2
    CUT = 3


class Intake(IntEnum):
    """What a worker is to do about shards: take new ones, keep those it has, hand them back once what runs has ended, or at once."""

    OPEN = 1
    CORDONED = 2
    DRAINING = 3
    CUT = 4


def after_counts(state: TrainingState, *, sealed: bool, total: int, completed: int, failed: int) -> TrainingState:
    """The training's state once ``completed`` and ``failed`` documents are recorded; ended states stay."""
    if state.ended or not sealed or completed + failed < total:
        return state
    if failed == 0:
        return TrainingState.COMPLETED
    return TrainingState.FAILED if completed == 0 else TrainingState.COMPLETED_WITH_FAILURES
