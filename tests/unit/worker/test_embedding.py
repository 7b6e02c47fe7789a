"""What the stage ``embed`` knows of its model."""

from __future__ import annotations

import asyncio

from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.embedding import Embedding
from doctrain_worker.pipeline.passage import Passage
from doctrain_worker.pipeline.processor import DocumentTask, ShardContext
from doctrain_worker.pipeline.vectors import Take
from doctrain_worker.pipeline.wire import Chunk

PASSAGE = Passage(DocumentTask(0, "a", "blob://a"), ShardContext(1, "acme", 1, "t", 1, 1, 1, 1))


class Named:
    """Vectors of a model that is slow to say its name."""

    at_once = 1
    asked = 0

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> tuple[str, bytes]:
        self.asked += 1
        await asyncio.sleep(0)
        return "m-1", b""


async def test_documents_that_begin_together_ask_for_the_models_name_once() -> None:
    vectors = Named()
    embedding = Embedding(vectors)
    assert await asyncio.gather(*(embedding.model(PASSAGE) for _ in range(5))) == ["m-1"] * 5
    assert vectors.asked == 1


class Crowded:
    """Vectors whose places are all taken for who is patient, for ever."""

    at_once = 3
    asked = 0

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> tuple[str, bytes] | None:
        if patient:
            await asyncio.Event().wait()
        self.asked += 1
        await asyncio.sleep(0)
        return None if take() is None else ("m-1", b"v")


async def test_a_document_whose_other_places_never_come_goes_on_in_its_own() -> None:
    passage = Passage(DocumentTask(0, "a", "blob://a"), ShardContext(1, "acme", 1, "t", 1, 1, 1, 1))
    with ChunkStore() as store:
        for batch in range(5):
            store.add([Chunk(0, 7, 0, "", f"Text {batch}.")])
        vectors = Crowded()
        async with asyncio.timeout(20):
            assert await Embedding(vectors).embed(store, passage) == "m-1"
        assert [made for _, made in store] == [b"v"] * 5
        assert vectors.asked == 5, "and waits for no place once nothing is left"


class Shared(Crowded):
    """Vectors that are made for who is patient, too, one after the other."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []

    async def of(self, take: Take, passage: Passage, *, patient: bool) -> tuple[str, bytes] | None:
        await asyncio.sleep(0)
        texts = take()
        if texts is None:
            return None
        self.made.append((texts[0], patient))
        await asyncio.sleep(0.001 if patient else 0)
        return "m-1", texts[0].encode()


async def test_each_batch_is_embedded_once_and_what_was_taken_up_is_waited_for() -> None:
    passage = Passage(DocumentTask(0, "a", "blob://a"), ShardContext(1, "acme", 1, "t", 1, 1, 1, 1))
    vectors = Shared()
    with ChunkStore() as store:
        for batch in range(9):
            store.add([Chunk(0, 7, 0, "", f"Text {batch}.")])
        assert await Embedding(vectors).embed(store, passage) == "m-1"
        assert [(chunk.text, made.decode()) for chunk, made in store] == [(f"Text {n}.", f"Text {n}.") for n in range(9)]
    assert sorted(text for text, _ in vectors.made) == [f"Text {n}." for n in range(9)]
    assert {patient for _, patient in vectors.made} == {True, False}
