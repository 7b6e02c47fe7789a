"""The stage ``embed`` as the worker sees it: a document's chunks, batch after batch, to where vectors are made.

Several batches of one document run at once while no other document waits: the first goes its turn, the others are
patient. Documents with so many chunks that they take minutes take turns, so that some end soon instead of all late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

from doctrain_mesh.supervise import unwrapped_group
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.passage import Facts, Passage
from doctrain_worker.pipeline.turns import Turns
from doctrain_worker.pipeline.vectors import Vectors
from doctrain_worker.text.chunking import embedded_text

LONG_CHUNKS = 2000


class Embedding:
    """Embeds documents, with vectors from ``vectors``."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._turns = Turns(vectors.at_once)
        self._model = ""
        self._learning = asyncio.Lock()

    async def model(self, passage: Passage) -> str:
        """The model's name, as it was last; the first who asks has a word embedded to hear it. Raises what ``Vectors.of`` does."""
        async with self._learning:
            if not self._model:
                self._model, _ = await self._vectors.of(["word"], passage, patient=False)
        return self._model

    async def embed(self, store: ChunkStore, passage: Passage) -> str:
        """Sets the vectors of all chunks; answers the model's name. Raises what ``Vectors.of`` does."""
        facts: Facts = {"chunks": 0, "chunks_in_all": len(store)}
        with passage.timed("embed", facts):
            if len(store) <= LONG_CHUNKS:
                model = await self._all(store, passage, facts)
            else:
                async with AsyncExitStack() as stack:
                    with passage.waiting():
                        await stack.enter_async_context(self._turns.turn(passage.shard.tenant))
                    model = await self._all(store, passage, facts)
            facts["chunks"] = facts.pop("chunks_in_all")
        return model

    async def _all(self, store: ChunkStore, passage: Passage, facts: Facts) -> str:
        batches = _telling(store, passage, facts)
        at_once = min(self._vectors.at_once, store.batches)
        if at_once <= 1:
            return await self._some(batches, store, passage, patient=False)
        async with unwrapped_group() as group:
            runs = [group.create_task(self._part(batches, store, passage, patient=place > 0)) for place in range(at_once)]
        return next((model for model in (run.result() for run in runs) if model), "")

    async def _part(self, batches: Iterator[int], store: ChunkStore, passage: Passage, *, patient: bool) -> str:
        with passage.part():
            return await self._some(batches, store, passage, patient=patient)

    async def _some(self, batches: Iterator[int], store: ChunkStore, passage: Passage, *, patient: bool) -> str:
        """Embeds batch after batch; answers the model's name, or nothing when there was none left."""
        model = ""
        for batch in batches:
            texts = [embedded_text(chunk.heading, chunk.text) for chunk in store.chunks(batch)]
            self._model, vectors = await self._vectors.of(texts, passage, patient=patient)
            model = self._model
            store.set_vectors(batch, vectors)
        return model


def _telling(store: ChunkStore, passage: Passage, facts: Facts) -> Iterator[int]:
    """The batches; tells how far the document is as each is taken up."""
    for batch in range(store.batches):
        facts["chunks"] = len(store) * batch // store.batches
        passage.tell()
        yield batch
