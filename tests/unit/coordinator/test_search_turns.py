"""A search that finds much lets others have their turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any, cast

import pytest

from doctrain.v1 import search_pb2 as pb
from doctrain_coordinator.core.snippets import Snippet, snippet
from doctrain_coordinator.rpc import search
from doctrain_coordinator.rpc.caller import CALLER
from doctrain_coordinator.rpc.search import LONG_TEXT, SearchParts, SearchService
from doctrain_coordinator.search.searching import Found, Hit, Unknown
from doctrain_coordinator.tenants.identity import Identity

HITS = 100


class Finds:
    """A search that finds one text many times."""

    def __init__(self, text: str) -> None:
        self._hit = Hit("a.txt", "a-training", "", None, "", text, 0, len(text), 1.0, "{}", "text/plain")

    async def search(self, *_: object) -> Found:
        return Found([self._hit] * HITS, ["duck"])

    async def unknown(self, *_: object) -> Unknown:
        return Unknown()


async def found_in(text: str) -> pb.SearchResponse:
    CALLER.set(Identity(1))
    service = SearchService(SearchParts(cast(Any, Finds(text)), cast(Any, None)))
    return await service.Search(pb.SearchRequest(query="duck"), None)


async def test_others_have_a_turn_between_the_passages() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        other = group.create_task(others())
        response = await found_in("The duck.")
        other.cancel()
    assert len(response.hits) == HITS
    assert turns >= HITS


async def test_a_long_passage_is_looked_at_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def noted(text: str, wanted: Collection[str]) -> Snippet:
        threads.add(threading.get_ident())
        return snippet(text, wanted)

    monkeypatch.setattr(search, "snippet", noted)
    response = await found_in("The duck. " * (LONG_TEXT // 10 + 1))
    assert len(response.hits) == HITS
    assert threads
    assert threading.get_ident() not in threads
