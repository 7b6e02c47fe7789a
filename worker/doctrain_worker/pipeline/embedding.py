"""The stage ``embed`` as the worker sees it: batches of chunks to children that hold the model.

Several batches of one document run at once while no other document waits for a child: the first goes its turn, the others
are patient. Documents with so many chunks that they take minutes take turns, so that some end soon instead of all late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from doctrain_worker.core.chunking import embedded_text
from doctrain_worker.pipeline import failures
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.limits import Limits
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.processor import Failure
from doctrain_worker.pipeline.turns import Turns
from doctrain_worker.sandbox import results
from doctrain_worker.sandbox.pool import ChildPool

log = logging.getLogger(__name__)

LONG_CHUNKS = 2000
TELL_SECONDS = 60.0
_TRIES = 2


class Embedding:
    """Embeds documents.

    Args:
        embedders: children that hold the model.
        limits: how many there are, and what a document may take of them.
    """

    def __init__(self, embedders: ChildPool, limits: Limits) -> None:
        self._embedders = embedders
        self._limits = limits
        self._turns = Turns(limits.children)

    async def embed(self, store: ChunkStore, passage: Passage) -> str:
        """Sets the vectors of all chunks; answers the model's name. Raises DocumentFailedError, ChildStartError, FencedError."""
        with passage.timed("embed", {"chunks": len(store)}):
            if len(store) <= LONG_CHUNKS:
                return await self._all(store, passage)
            async with self._turns.turn(passage.shard.tenant):
                return await self._all(store, passage)

    async def _all(self, store: ChunkStore, passage: Passage) -> str:
        batches = _telling(store, passage)
        at_once = min(self._limits.children, store.batches)
        if at_once <= 1:
            return await self._some(batches, store, passage, patient=False)
        try:
            async with asyncio.TaskGroup() as group:
                runs = [group.create_task(self._some(batches, store, passage, patient=place > 0)) for place in range(at_once)]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return next((model for model in (run.result() for run in runs) if model), "")

    async def _some(self, batches: Iterator[int], store: ChunkStore, passage: Passage, *, patient: bool) -> str:
        """Embeds batch after batch; answers the model's name, or nothing when there was none left."""
        model = ""
        for batch in batches:
            texts = [embedded_text(chunk.heading, chunk.text) for chunk in store.chunks(batch)]
            model, vectors = await self._embedded(texts, passage, patient=patient)
            store.set_vectors(batch, vectors)
        return model

    async def _embedded(self, texts: list[str], passage: Passage, *, patient: bool) -> tuple[str, bytes]:
        for left in reversed(range(_TRIES)):
            result = await self._embedders.run(texts, self._limits.call_seconds, passage.shard.traceparent, patient=patient)
            passage.note(result)
            if isinstance(result, results.Result):
                model, vectors = result.value
                return model, vectors
            if not left or isinstance(result, results.TimedOut):
                break
            log.warning("The embedding model failed (%s); the batch is tried again.", type(result).__name__)
        raise DocumentFailedError(_failure(result))


def _telling(store: ChunkStore, passage: Passage) -> Iterator[int]:
    """The batches; tells in the log how far a document is that takes long."""
    clock = asyncio.get_running_loop().time
    told = clock()
    for batch in range(store.batches):
        if clock() - told > TELL_SECONDS:
            told = clock()
            share = 100 * batch // store.batches
            log.info("Document %d of training %s: %d %% of %d chunks embedded.", *passage.named, share, len(store))
        yield batch


def _failure(result: results.CallResult) -> Failure:
    """The text is harmless, so what goes wrong with it is ours, but for a document that takes too long."""
    if isinstance(result, results.TimedOut):
        return failures.of_call(result, "embedding")
    return failures.transient("EMBEDDING", f"The embedding model failed ({type(result).__name__}).")
