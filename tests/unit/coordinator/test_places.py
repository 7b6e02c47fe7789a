"""Who sends slowly keeps a place for as long as nobody waits for it, and the last one is for who has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from doctrain_coordinator.rpc.places import SLOWEST_BYTES_A_SECOND, Patience, Place, Places
from doctrain_mesh.errors import UploadStalledError

NEVER = 1_000.0


async def nothing() -> AsyncIterator[bytes]:
    """What a client sends that sends nothing."""
    await asyncio.Event().wait()
    yield b""


async def at_once() -> AsyncIterator[bytes]:
    yield b"request"


def test_patience_is_taken_by_waiting_and_given_back_by_bytes() -> None:
    patience = Patience(15)
    assert patience.at(1_000) == 15, "nothing is waited for"
    patience.waits(100)
    assert patience.at(110) == 5
    patience.came(110, int(3 * SLOWEST_BYTES_A_SECOND))
    assert patience.at(1_000) == 8, "the time between two messages is not the client's"
    patience.waits(1_000)
    assert patience.at(1_009) == -1
    patience.came(1_009, 2**20)
    assert patience.at(1_010) == 15, "never more than in the beginning"


async def taken(places: Places, tenant: int, group: asyncio.TaskGroup) -> tuple[asyncio.Task[None], asyncio.Event]:
    """A call that asks for a place, and whether it has one."""
    has = asyncio.Event()

    async def call() -> None:
        async with places.one(tenant):
            has.set()
            await asyncio.Event().wait()

    task = group.create_task(call())
    for _ in range(10):
        await asyncio.sleep(0)
    return task, has


async def test_the_last_place_is_for_a_tenant_that_has_none() -> None:
    places = Places(3, NEVER)
    async with asyncio.TaskGroup() as group:
        calls = [await taken(places, tenant, group) for tenant in (1, 1, 1, 2, 3)]
        assert [has.is_set() for _, has in calls] == [True, True, False, True, False]
        calls[3][0].cancel()
        await asyncio.wait([calls[3][0]])
        assert not calls[2][1].is_set(), "it goes past who asked before and has some"
        await calls[4][1].wait()
        calls[0][0].cancel()
        await asyncio.wait([calls[0][0]])
        assert not calls[2][1].is_set()
        calls[1][0].cancel()
        await calls[2][1].wait()
        for task, _ in calls:
            task.cancel()


async def hear(place: Place) -> bytes:
    return await place.hear(nothing())


async def test_a_client_that_sends_nothing_keeps_its_place_until_another_waits_for_it() -> None:
    places = Places(1, 0.05)
    async with places.one(1) as place:
        listening = asyncio.create_task(hear(place))
        await asyncio.wait([listening], timeout=0.2)
        assert not listening.done(), "nobody waits"

    async def keep() -> None:
        async with places.one(1) as kept:
            await hear(kept)

    listening.cancel()
    keeping = asyncio.create_task(keep())
    await asyncio.sleep(0)
    async with asyncio.timeout(10), places.one(2) as other:
        assert await other.hear(at_once()) == b"request"
    with pytest.raises(UploadStalledError, match="too slowly while others waited: less than 1,024 bytes"):
        await keeping


async def test_a_call_that_is_served_is_not_its_clients_fault_and_keeps_its_place() -> None:
    places = Places(1, 0.02)
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        place = await stack.enter_async_context(places.one(1))
        await place.hear(at_once())
        task, has = await taken(places, 2, group)
        await asyncio.wait([task], timeout=0.2)
        assert not has.is_set()
        await stack.aclose()
        await has.wait()
        task.cancel()
