"""Work that is ended from outside."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_worker.shards.interruptible import Interruptible


async def test_work_that_is_left_alone_answers_its_result() -> None:
    work = Interruptible[str]()
    assert await work.run(asyncio.sleep(0, "result")) == "result"
    work.interrupt("late")
    assert work.interrupted is None


async def test_an_interrupt_cancels_the_work_and_is_answered_once_it_has_ended() -> None:
    work, cleaned = Interruptible[str](), asyncio.Event()

    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            assert not work.ended.is_set()
            cleaned.set()
        return "never"

    asyncio.get_running_loop().call_soon(work.interrupt, "first")
    asyncio.get_running_loop().call_soon(work.interrupt, "second")
    assert await work.run(slow()) == "first"
    assert cleaned.is_set()
    assert work.ended.is_set()


async def test_an_interrupt_takes_the_place_of_a_result_that_comes_with_it() -> None:
    work = Interruptible[str]()

    async def interrupts_itself() -> str:
        work.interrupt("interrupt")
        return "result"

    assert await work.run(interrupts_itself()) == "interrupt"


async def test_errors_and_cancellation_pass() -> None:
    async def fail() -> str:
        raise TimeoutError("of the work's own")

    with pytest.raises(TimeoutError, match="own"):
        await Interruptible[str]().run(fail())
    work = Interruptible[str]()
    task = asyncio.ensure_future(work.run(asyncio.sleep(60, "")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended.is_set()
