"""What the worker and the coordinators say to each other, as the worker's own values. ``messages`` makes protobuf of them and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from doctrain_worker.core.results import Columns, Stage
from doctrain_worker.pipeline.processor import DocumentTask
from doctrain_worker.sandbox.shared.memory import Predecessor

Key: TypeAlias = tuple[int, int]
"""(shard, dispatch number)."""


# What the worker says


@dataclass(frozen=True, slots=True)
class Hello:
    """Asks for another stream of a session, with its secret, or for a new one (0) after its predecessor."""

    worker_id: str
    lanes: int
    version: str
    session: int
    secret: bytes = field(repr=False)
    predecessor: Predecessor


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The worker lives and ``held`` is all that it holds or asks for, each with the last resize that is in force, 0 where there was none.

    While ``draining`` it takes no more; while ``unsubscribed`` it would, and the broker delivers nothing to it.
    """

    number: int
    held: Mapping[Key, int]
    draining: bool
    unsubscribed: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """Asks for a shard."""

    key: Key


@dataclass(frozen=True, slots=True)
class Trial:
    """A suspect is about to be tried."""

    key: Key
    ordinal: int


@dataclass(frozen=True, slots=True)
class Yield:
    """What is left of a shard goes back, for so long."""

    key: Key
    delay_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of a shard runs any more."""

    key: Key


Question: TypeAlias = Begin | Trial | Yield | Stopped
"""What is said again until it is answered; of each kind a hold has one at a time."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A document that runs for long: since when, in milliseconds since the hold began, and its stages so far."""

    ordinal: int
    started: int
    stages: Sequence[Stage]


@dataclass(frozen=True, slots=True)
class Block:
    """Results of a hold, and what of it runs; its times are milliseconds after ``base_ms``, which is since the Unix epoch.

    ``under_way`` None: as it was told last. ``urgent``: the shard waits for the answer.
    """

    sequence: int
    key: Key
    base_ms: int
    columns: Columns
    running: Sequence[int]
    under_way: Sequence[UnderWay] | None
    urgent: bool = False


@dataclass(slots=True)
class Said:
    """What is to be sent at once."""

    questions: list[Question] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.questions or self.blocks)


# What a coordinator answers


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session that the stream is of, with the secret of a new one; ``session`` 0: it was taken back.

    ``cordoned``: the worker is to take no messages.
    """

    session: int
    secret: bytes = field(repr=False)
    lease_seconds: float
    beat_seconds: float
    cordoned: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """The shard is the worker's, with these documents by their ordinals, ascending, ``width`` of them at once.

    Args:
        resize: the change of its width that ``width`` is as of, 0 for none.
        suspects: those that may have killed whoever ran them.
        cool_downs: how often the shard went back for what is outside its documents.
        traceparent: W3C trace context; empty when it is not traced.
        others: as in ``ShardContext``.
    """

    key: Key
    tenant: int
    tenant_id: str
    training: int
    training_task_id: str
    index_order: int
    retrain: bool
    width: int
    documents: Mapping[int, DocumentTask]
    suspects: Sequence[int]
    cool_downs: int
    traceparent: str
    resize: int


class NotBegun(Enum):
    """Why a shard was not given: it is somebody else's, or over; or the session that asked is."""

    NOT_YOURS = 1
    SESSION_LOST = 2


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """Whether the trial of a document is committed; else the shard is not the worker's, or does not suspect it."""

    key: Key
    ordinal: int
    committed: bool


class BlockOutcome(Enum):
    """What became of a block. STALE: the shard is not the worker's. INVALID: some of its documents are not the shard's."""

    RECORDED = 1
    STALE = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """What became of one block; ``shard_done`` when it was the shard's last."""

    sequence: int
    outcome: BlockOutcome
    shard_done: bool


class Order(Enum):
    """What the tracker wants of a hold: its rest back once what runs has ended, its end at once, or its rest back at once."""

    YIELD = 1
    STOP = 2
    CUT = 3


@dataclass(frozen=True, slots=True)
class Resize:
    """So many documents of a hold at once; of two, the one with the higher ``resize`` holds."""

    width: int
    resize: int


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """Of the heartbeat with that number: ``not_yours`` are shards that it named in vain; ``cordoned`` as in ``Welcome``."""

    number: int
    session_lost: bool
    orders: Sequence[tuple[Key, Order]]
    not_yours: Sequence[Key]
    cordoned: bool
    resizes: Sequence[tuple[Key, Resize]]


@dataclass(frozen=True, slots=True)
class Heard:
    """One response; ``draining``: the coordinator goes away."""

    begins: Sequence[tuple[Key, Begun | NotBegun]] = ()
    trials: Sequence[TrialAnswer] = ()
    yields: Sequence[Key] = ()
    stopped: Sequence[Key] = ()
    blocks: Sequence[BlockAnswer] = ()
    heartbeat: HeartbeatAnswer | None = None
    draining: bool = False
