"""Lifetimes: deadlines, work in parts, the first of several works to end, and loops; what is cancelled meanwhile ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from doctrain_mesh.errors import OperationTimeoutError
from doctrain_mesh.supervise import deadline, first_of, for_each, forever, to_the_end, unwrapped_group


async def test_a_deadline_claims_no_others_timeout() -> None:
    with pytest.raises(TimeoutError, match="nothing of the deadline's"):
        async with deadline("A test", 20.0):
            raise TimeoutError("nothing of the deadline's")
    with pytest.raises(OperationTimeoutError, match=r"A test did not finish within 0\.01 s"):
        async with deadline("A test", 0.01):
            await asyncio.Event().wait()


async def waits(ended: list[str], name: str) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended.append(name)
    return name


async def returns(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def test_the_first_to_return_is_answered_and_the_others_have_ended() -> None:
    ended: list[str] = []
    assert await first_of(waits(ended, "a"), returns("b"), waits(ended, "c")) == "b"
    assert ended == ["a", "c"]


async def test_an_error_ends_them_all() -> None:
    ended: list[str] = []

    async def fail() -> str:
        await asyncio.sleep(0)
        raise LookupError("nothing here")

    with pytest.raises(ExceptionGroup) as raised:
        await first_of(waits(ended, "a"), fail())
    assert raised.group_contains(LookupError)
    assert ended == ["a"]


async def test_an_unwrapped_group_raises_one_error_as_it_is_after_all_have_ended() -> None:
    ended: list[str] = []
    failure = LookupError("nothing here")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise failure

    async def work() -> None:
        async with unwrapped_group() as group:
            group.create_task(waits(ended, "a"))
            group.create_task(fail())
            await waits(ended, "body")

    with pytest.raises(LookupError) as raised:
        await work()
    assert raised.value is failure
    assert sorted(ended) == ["a", "body"]


async def test_a_cancellation_that_comes_with_a_return_is_not_forgotten() -> None:
    """A stream that ends while its worker goes away must not keep the worker."""
    waiting, release = asyncio.Event(), asyncio.Event()

    async def released() -> str:
        waiting.set()
        await release.wait()
        return "released"

    async def session() -> None:
        while True:
            await first_of(released(), waits([], "a"))
            release.clear()

    task = asyncio.ensure_future(session())
    await waiting.wait()
    release.set()
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_they_leave_no_trace_of_a_cancellation() -> None:
    await first_of(returns("a"), waits([], "b"))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_work_is_done_to_its_end_however_often_it_is_cancelled(fails: bool) -> None:
    go_on, done = asyncio.Event(), list[str]()

    async def work() -> None:
        await go_on.wait()
        done.append("work")
        if fails:
            raise OSError

    task = asyncio.ensure_future(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["work"]


async def test_work_that_nobody_cancels_ends_as_it_does() -> None:
    assert await to_the_end(returns("a")) == "a"
    with pytest.raises(ZeroDivisionError):
        await to_the_end(asyncio.to_thread(lambda: 1 // 0))


class FailsWhileItEnds:
    """Two parts of one work: one fails, the other takes until it is ``released`` to end."""

    def __init__(self) -> None:
        self.ending, self.released = asyncio.Event(), asyncio.Event()

    async def part(self, number: int) -> None:
        if number == 0:
            raise LookupError("nothing here")
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.released.wait()

    async def in_parts(self) -> None:
        await for_each([0, 1], self.part, at_once=2)

    async def in_a_group(self) -> None:
        async with unwrapped_group() as group:
            for number in range(2):
                group.create_task(self.part(number))

    async def until_one_returns(self) -> None:
        await first_of(self.part(0), self.part(1))

    async def in_a_group_that_forgets(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(self.part(number))


WAYS = [FailsWhileItEnds.in_parts, FailsWhileItEnds.in_a_group, FailsWhileItEnds.until_one_returns]
Way = Callable[[FailsWhileItEnds], Awaitable[None]]


@pytest.mark.parametrize("way", WAYS)
async def test_who_expects_an_error_does_not_work_on_when_the_cancellation_came_with_it(way: Way) -> None:
    works = FailsWhileItEnds()

    async def survives() -> None:
        with suppress(LookupError, ExceptionGroup):
            await way(works)

    task = asyncio.ensure_future(survives())
    await works.ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    works.released.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("way", [*WAYS, FailsWhileItEnds.in_a_group_that_forgets])
async def test_a_loop_ends_when_it_is_cancelled_while_its_step_fails(way: Way) -> None:
    works = FailsWhileItEnds()
    loop = asyncio.ensure_future(forever("a test", lambda: way(works), expected=(LookupError, ExceptionGroup), retry_seconds=0.0))
    await works.ending.wait()
    loop.cancel()
    await asyncio.sleep(0)
    works.released.set()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await loop


async def test_a_deadline_that_passes_while_a_part_fails_is_told_and_leaves_no_cancellation() -> None:
    works = FailsWhileItEnds()
    asyncio.get_running_loop().call_later(0.05, works.released.set)
    with pytest.raises(OperationTimeoutError, match="A test"):
        async with deadline("A test", 0.01):
            await works.in_parts()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_within_a_group_that_ends_a_part_that_fails_leaves_the_error_that_ended_it() -> None:
    works = FailsWhileItEnds()

    async def end() -> None:
        await works.ending.wait()
        asyncio.get_running_loop().call_soon(works.released.set)
        raise ZeroDivisionError

    async def work() -> None:
        async with unwrapped_group() as group:
            group.create_task(end())
            await works.in_parts()

    with pytest.raises(ZeroDivisionError):
        await work()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_task_that_was_cancelled_before_hears_the_error_of_what_it_does_at_its_end() -> None:
    works = FailsWhileItEnds()
    works.released.set()
    heard: list[BaseException] = []

    async def ends() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await works.in_parts()
            except BaseException as error:
                heard.append(error)

    task = asyncio.ensure_future(ends())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in heard] == [LookupError]


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_that_comes_alone_is_raised_and_leaves_no_trace_of_a_cancellation(way: Way) -> None:
    works = FailsWhileItEnds()
    works.released.set()
    with pytest.raises((LookupError, ExceptionGroup)):
        await way(works)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_clean_up_of_who_was_cancelled_is_not_cut_off() -> None:
    works = FailsWhileItEnds()
    cleaned: list[str] = []

    async def cleans_up() -> None:
        try:
            await works.in_parts()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append("up")

    task = asyncio.ensure_future(cleans_up())
    await works.ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    works.released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["up"]
