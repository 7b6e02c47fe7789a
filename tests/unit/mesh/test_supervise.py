"""Lifetimes: deadlines, and the first of several works to end."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_mesh.errors import OperationTimeoutError
from doctrain_mesh.supervise import deadline, first_of, to_the_end, unwrapped_group


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
    release = asyncio.Event()

    async def released() -> str:
        await release.wait()
        return "released"

    async def session() -> None:
        while True:
            await first_of(released(), waits([], "a"))
            release.clear()

    task = asyncio.ensure_future(session())
    await asyncio.sleep(0.01)
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
