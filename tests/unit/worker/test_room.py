"""Memory shared by the documents of many tenants: nobody takes all of it, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from doctrain_worker.pipeline.room import Room, Share


async def begun(share: Share, count: int) -> asyncio.Task[None]:
    """A wait that has begun."""
    task = asyncio.create_task(share.wait(count))
    await asyncio.sleep(0)
    return task


def test_a_tenant_leaves_as_much_as_it_takes() -> None:
    room = Room(1000)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(room.share(tenant)) for tenant in (1, 2, 3))
        assert first.take(500)
        assert not first.take(1)
        assert second.take(250)
        assert not second.take(1)
        assert third.take(125)
    with room.share(4) as anew:
        assert anew.take(500)


async def test_those_who_wait_are_let_in_when_there_is_room() -> None:
    room = Room(1000)
    with room.share(1) as waiting, room.share(1) as beyond:
        with room.share(1) as holder:
            assert holder.take(450)
            beyond_room = await begun(beyond, 400)
            turn = await begun(waiting, 100)
            assert beyond_room.done()
            assert not turn.done()
        await turn
        assert waiting.held == 100


async def test_of_documents_that_wait_for_each_other_one_goes_beyond_the_room() -> None:
    room = Room(1000)
    with room.share(1) as one, room.share(1) as two:
        assert one.take(250)
        assert two.take(250)
        first = await begun(one, 10)
        await first
        assert one.take(100_000)
        assert two.take(250)
        second = await begun(two, 10)
        assert not second.done()
        second.cancel()
        await asyncio.wait({second})
    with room.share(1) as anew:
        assert anew.take(500)


async def test_the_tenant_that_holds_least_goes_beyond_first() -> None:
    room = Room(1000)
    with ExitStack() as stack:
        one, another, other = (stack.enter_context(room.share(tenant)) for tenant in (1, 1, 2))
        with room.share(9) as first:
            await first.wait(5000)
            assert one.take(500)
            large = await begun(another, 400)
            larger = await begun(other, 900)
            assert not large.done()
            assert not larger.done()
        await larger
        assert not large.done()
        large.cancel()
        await asyncio.wait({large})
