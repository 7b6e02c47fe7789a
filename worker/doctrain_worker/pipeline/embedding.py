"""The stage ``embed`` as the worker sees it: a document's chunks, batch after batch, to where vectors are made.

Its batches go their turn one after the other, and others beside them where no other document waits. Documents with so many
chunks that they take minutes take turns, so that some end soon instead of all late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from doctrain_mesh.supervise import unwrapped_group
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.passage import Facts, Passage
from doctrain_worker.pipeline.turns import Turns
from doctrain_worker.pipeline.vectors import Vectors
from doctrain_worker.pipeline.wire import Embedded
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
                asked = await self._vectors.of(lambda: ["word"], passage, patient=False)
                assert asked is not None, "there is a word left"
                self._model, _ = asked
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
        if not store.batches:
            return ""
        batches = _Batches(store, passage, facts)
        async with unwrapped_group() as group:
            others = [
                group.create_task(self._part(batches, passage, patient=True)) for _ in range(1, min(self._vectors.at_once, store.batches))
            ]
            await self._part(batches, passage, patient=False)
            for other in others:
                if other not in batches.taken_up:
                    other.cancel()
        return self._model

    async def _part(self, batches: _Batches, passage: Passage, *, patient: bool) -> None:
        """Embeds batch after batch until none is left, and waits for no place when that is known before."""
        with passage.part():
            while batches.are_left and (vectors := await self._vectors.of(batches.take_up, passage, patient=patient)) is not None:
                self._model = batches.done(vectors)


class _Batches:
    """Those of one document: each is taken up by one task, which is among ``taken_up`` until it is done; tells how far the document is."""

    def __init__(self, store: ChunkStore, passage: Passage, facts: Facts) -> None:
        self._store, self._passage, self._facts = store, passage, facts
        self._next = 0
        self.taken_up: dict[asyncio.Task[None] | None, int] = {}

    @property
    def are_left(self) -> bool:
        """Whether there are batches that nobody has taken up."""
        return self._next < self._store.batches

    def take_up(self) -> Sequence[str] | None:
        """The texts of the next batch, for the task that runs."""
        batch, store = self._next, self._store
        if not self.are_left:
            return None
        self._next += 1
        self.taken_up[asyncio.current_task()] = batch
        self._facts["chunks"] = len(store) * batch // store.batches
        self._passage.tell()
        return [embedded_text(chunk.heading, chunk.text) for chunk in store.chunks(batch)]

    def done(self, embedded: Embedded) -> str:
        """Keeps the vectors of what the task that runs has taken up; answers the model's name."""
        model, vectors = embedded
        self._store.set_vectors(self.taken_up.pop(asyncio.current_task()), vectors)
        return model
