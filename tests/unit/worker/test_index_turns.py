"""A document of many chunks lets others have their turn while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.index import STAGED_CHUNKS, IndexedDocument, replace_document
from doctrain_worker.pipeline.processor import DocumentTask, ShardContext
from doctrain_worker.pipeline.wire import Chunk


class TakesAll:
    """A connection over which everything is written."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def execute(self, *_: object) -> None:
        pass

    async def fetchval(self, *_: object) -> int:
        return 1

    async def copy_to_table(self, *_: object, source: AsyncIterator[bytes], **__: object) -> None:
        async for _piece in source:
            pass


@pytest.mark.parametrize("count", [STAGED_CHUNKS, STAGED_CHUNKS + 1])
async def test_others_have_a_turn_between_the_rows(count: int) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    shard = ShardContext(tenant=1, tenant_id="t", training=1, training_task_id="a", index_order=1, shard=1, number=1, session=1)
    with ChunkStore() as store:
        store.add([Chunk(place, place + 1, 0, "", "A duck.") for place in range(count)])
        store.set_vectors(0, bytes(2 * count))
        document = IndexedDocument(b"", "text/plain", "a-model", store)
        async with asyncio.TaskGroup() as group:
            other = group.create_task(others())
            assert await replace_document(cast(Any, TakesAll()), shard, DocumentTask(0, "a.txt", ""), document)
            other.cancel()
    assert turns >= count
