"""The model of queries: opened once, whoever waits for it for however long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from doctrain_coordinator.search import query_model
from doctrain_coordinator.search.query_model import QueryModel
from doctrain_mesh.embedding import Embedder
from doctrain_mesh.embedding.threaded import Threaded
from doctrain_mesh.errors import ConfigurationError, EmbeddingUnavailableError, OperationTimeoutError
from testkit.stages import Digests


async def test_who_waits_too_long_is_told_and_the_model_is_opened_once_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_model, "EMBED_SECONDS", 0.01)
    goes_on, ends = asyncio.Event(), list[str]()

    @asynccontextmanager
    async def slow() -> AsyncIterator[Embedder]:
        ends.append("opening")
        await goes_on.wait()
        yield Threaded(Digests())
        ends.append("closed")

    model = QueryModel(slow)
    told = await asyncio.gather(*(model.opened() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [OperationTimeoutError] * 3
    monkeypatch.setattr(query_model, "EMBED_SECONDS", 60.0)
    goes_on.set()
    assert (await model.opened()).name == "digests"
    await model.close()
    assert ends == ["opening", "closed"]


async def test_a_model_that_cannot_be_opened_is_tried_again_by_the_next_who_needs_it() -> None:
    faults = [ConfigurationError("There is no file.")]

    @asynccontextmanager
    async def opens() -> AsyncIterator[Embedder]:
        if faults:
            raise faults.pop()
        yield Threaded(Digests())

    model = QueryModel(opens)
    with pytest.raises(EmbeddingUnavailableError):
        await model.opened()
    assert (await model.opened()).name == "digests"
    await model.close()


async def test_a_model_that_is_still_being_opened_holds_up_no_end() -> None:
    opening = asyncio.Event()

    @asynccontextmanager
    async def hangs() -> AsyncIterator[Embedder]:
        opening.set()
        await asyncio.Event().wait()
        yield Threaded(Digests())

    model = QueryModel(hangs)
    waiting = asyncio.ensure_future(model.opened())
    await opening.wait()
    await model.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
