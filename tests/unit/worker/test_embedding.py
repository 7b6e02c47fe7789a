"""What the stage ``embed`` knows of its model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from doctrain_worker.pipeline.embedding import Embedding
from doctrain_worker.pipeline.passage import Passage
from doctrain_worker.pipeline.processor import DocumentTask, ShardContext

PASSAGE = Passage(DocumentTask(0, "a", "blob://a"), ShardContext(1, "acme", 1, "t", 1, 1, 1, 1))


class Named:
    """Vectors of a model that is slow to say its name."""

    at_once = 1
    asked = 0

    async def of(self, texts: Sequence[str], passage: Passage, *, patient: bool) -> tuple[str, bytes]:
        self.asked += 1
        await asyncio.sleep(0)
        return "m-1", b""


async def test_documents_that_begin_together_ask_for_the_models_name_once() -> None:
    vectors = Named()
    embedding = Embedding(vectors)
    assert await asyncio.gather(*(embedding.model(PASSAGE) for _ in range(5))) == ["m-1"] * 5
    assert vectors.asked == 1
