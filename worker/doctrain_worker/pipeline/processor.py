"""What a worker hands to the processing of one document, and what it gets back.

``Processor`` is the one door between a lane and whatever processes documents: the pipeline, a function in children, or
a plain function in the worker for benchmarks. This module imports neither I/O nor gRPC, as children import it too.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from doctrain_worker.sandbox.shared.fenced import FencedError, NotHeldError

__all__ = [
    "DONE",
    "DocumentTask",
    "Done",
    "ErrorClass",
    "Failure",
    "FencedError",
    "NotHeldError",
    "Outcome",
    "Processor",
    "Seconds",
    "ShardContext",
    "StageTiming",
    "Tell",
    "answers_at_once",
]


class ErrorClass(enum.IntEnum):
    """What kind of failure; the numbers of ``doctrain.v1.ErrorClass``."""

    TRANSIENT = 1
    PERMANENT = 2
    RESOURCE = 3
    CRASH = 4


Seconds = Annotated[float, Meta(ge=0, le=2**33)]
"""What a span can hold as nanoseconds."""

STORABLE = r"^[^\x00]*$"
"""Postgres stores no NUL."""

_Fact = Annotated[str, Meta(pattern=STORABLE, max_length=2000)]


class StageTiming(msgspec.Struct, frozen=True, array_like=True):
    """One stage of one document, for a span; children answer it as it is.

    Args:
        name: the stage, such as ``fetch``.
        start: seconds since the Unix epoch.
        seconds: how long it took.
        attributes: small facts, such as ``pages``.
    """

    name: Annotated[str, Meta(pattern=STORABLE, max_length=50)]
    start: Seconds
    seconds: Seconds
    attributes: Annotated[dict[_Fact, _Fact | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float], Meta(max_length=50)] = {}


Tell = Callable[[int, Sequence[StageTiming]], None]
"""Told of a document, by its ordinal: the stages so far of its present try, the last of which may still run."""


def _tell_nobody(_ordinal: int, _stages: Sequence[StageTiming]) -> None:
    pass


class ShardContext(msgspec.Struct, frozen=True):
    """What all documents of one hold of a shard share; made once a hold.

    Args:
        tenant: the tenant's key in Postgres; ``tenant_id`` its name, which blobs are kept under.
        training: the training's key in Postgres; ``training_task_id`` its id, for logs.
        index_order: of a document's trainings the one that has the highest wins in the index; of those that have the same, the newest.
        shard: the shard's key in Postgres.
        number: the dispatch number, which is the attempt.
        session: the worker's session that holds the shard: the fence of every index row written.
        traceparent: W3C trace context; empty when the training is not traced.
        retrain: read documents again that the index holds already as they are now.
        tell: to be called as a document gets on, however often; of one that runs for long its tenant is told, about once a second.
    """

    tenant: int
    tenant_id: str
    training: int
    training_task_id: str
    index_order: int
    shard: int
    number: int
    session: int
    traceparent: str = ""
    retrain: bool = False
    tell: Tell = _tell_nobody


class DocumentTask(msgspec.Struct, frozen=True, gc=False):
    """One document to process.

    Args:
        ordinal: its place in the training.
        document_id: the tenant's name for it.
        uri: where its bytes are; empty only for processors that read none.
        media_type: what it claims to be; a hint.
        metadata: a JSON object, or empty.
    """

    ordinal: int
    document_id: str
    uri: str
    media_type: str = ""
    metadata: str = ""

    @property
    def file_name(self) -> str:
        """What may tell its type: the name in its URI, or its id where there is none, as in those of uploads."""
        name = self.uri.rpartition("/")[2]
        return name if "." in name else self.document_id


@dataclass(frozen=True, slots=True)
class Done:
    """The document is processed.

    Args:
        chunks: how many index rows it has.
        superseded: a newer training of the same document stands in the index; nothing was written.
        stages: what ran, in order.
        unchanged: the index held it already as it is now, so it was not read again.
    """

    chunks: int = 0
    superseded: bool = False
    stages: tuple[StageTiming, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """The document could not be processed.

    Args:
        error_class: TRANSIENT may be tried again; the others end the document.
        code: a short constant, such as ``ENCRYPTED``: upper-case letters, digits and underscores; anything else is recorded as ``OTHER``.
        sentence: what was wrong and what to do, for the document's owner.
        retry_after_seconds: for TRANSIENT, how long its source asked to be left alone; 0 when it said nothing.
        stages: what ran before it failed.
        final: another try would end the same way, so there is none, whatever the class.
    """

    error_class: ErrorClass
    code: str
    sentence: str
    retry_after_seconds: float = 0.0
    stages: tuple[StageTiming, ...] = ()
    final: bool = False


Outcome = Done | Failure

DONE = Done()
"""The outcome of a processor that has nothing to tell."""


class Processor(Protocol):
    """Processes documents; one object serves all lanes of a worker at once."""

    def process(self, document: DocumentTask, shard: ShardContext) -> Outcome | Awaitable[Outcome]:
        """Answers what came of the document: a plain function at once, an ``async def`` when awaited.

        Running it again replaces what it wrote before.

        Cancelling the call kills the document's child at once. Raises NotHeldError when the shard's row names another
        hold, and FencedError when the session's children were killed.
        Any other exception is a fault of the processor's, not of the document's.
        """


def answers_at_once(processor: Processor) -> bool:
    """Whether its ``process`` is a plain function."""
    return not inspect.iscoroutinefunction(processor.process)
