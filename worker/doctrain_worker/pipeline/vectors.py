"""Where the vectors of a batch of texts are made: in children that hold the model, or at an endpoint that the worker asks.

Children have no network, so an endpoint is asked by the worker itself, which only waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, TypeAlias

from doctrain_mesh.embedding import Embedder
from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.halves import NUMBER_BYTES, halves
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.methods import EMBED
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.processor import Failure
from doctrain_worker.pipeline.wire import Embedded
from doctrain_worker.sandbox.main.pool import ChildPool, PutBackError
from doctrain_worker.sandbox.shared.ends import NO_ANSWER, Failed, Result, TimedOut

log = logging.getLogger(__name__)

_TRIES = 2
_REQUESTS = 4


Take: TypeAlias = Callable[[], "Sequence[str] | None"]
"""Takes up the next texts, once there is a place for them; None: none are left."""


class Vectors(Protocol):
    """Makes vectors.

    Attributes:
        at_once: batches of one document that it is worth asking for at once.
    """

    at_once: int

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> Embedded | None:
        """The model's name, and the vectors as the index takes them; None where none are left. ``patient``: others are given a place first.

        Raises DocumentFailedError, ChildStartError, FencedError, EmbeddingUnavailableError.
        """


class ChildVectors:
    """A ``Vectors`` of children that hold the model."""

    def __init__(self, children: ChildPool, limits: Limits) -> None:
        self._children = children
        self._call_seconds = limits.call_seconds
        self.at_once = limits.children

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> Embedded | None:
        """See ``Vectors``."""
        batch, left = _Batch(take, patient), _TRIES
        while True:
            end = await self._called(batch, passage)
            if end is None:
                return None
            passage.note(end)
            if isinstance(end, Result):
                model, vectors = end.value
                if vectors and len(vectors) % (len(batch.texts) * NUMBER_BYTES) == 0:
                    return model, vectors
                end = NO_ANSWER
            left -= 1
            if not left or isinstance(end, TimedOut):
                raise DocumentFailedError(_failure(end))
            log.warning("The embedding model failed (%s); the batch is tried again.", type(end).__name__)

    async def _called(self, batch: _Batch, passage: Passage) -> Result[Embedded] | Failed | None:
        again = False
        while True:
            try:
                async with AsyncExitStack() as stack:
                    with passage.waiting():
                        calls = await stack.enter_async_context(
                            self._children.calls(owner=passage.shard.tenant, patient=batch.patient, again=again)
                        )
                    if not batch.take_up():
                        return None
                    return await calls.run(batch.texts, self._call_seconds, EMBED.answer, passage.shard.traceparent)
            except PutBackError:
                again = True


class _Batch:
    """Texts that are taken up once there is a child for them; from then on they wait as others do: they would be overtaken for ever."""

    def __init__(self, take: Take, patient: bool) -> None:
        self._take, self.patient = take, patient
        self.texts: Sequence[str] = ()

    def take_up(self) -> bool:
        """Whether there are any."""
        self.texts = self.texts or self._take() or ()
        self.patient = False
        return bool(self.texts)


class EndpointVectors:
    """A ``Vectors`` of an endpoint."""

    at_once = _REQUESTS

    def __init__(self, endpoint: Embedder) -> None:
        self._endpoint = endpoint

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> Embedded | None:
        """See ``Vectors``."""
        texts = take()
        return None if texts is None else (self._endpoint.name, halves(await self._endpoint.embed(texts)))


def _failure(end: Failed) -> Failure:
    """The text is harmless, so what goes wrong with it is ours, but for a document that takes too long."""
    if isinstance(end, TimedOut):
        return failures.of_call(end, "embedding")
    return failures.transient("EMBEDDING", f"The embedding model failed ({type(end).__name__}).")
