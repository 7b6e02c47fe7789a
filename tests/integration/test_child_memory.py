"""Children that end for want of memory, and who calls one when: with real processes."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool
from doctrain_worker.sandbox.shared import ends
from testkit import sandbox
from testkit.sandbox import ANYTHING, SPEC, act, works


@pytest.fixture
def children() -> int:
    return 1


@pytest.mark.parametrize(
    "said",
    [
        "memory allocation of 5 bytes failed\n",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
    ],
)
async def test_native_code_that_says_it_got_no_memory_before_it_aborts_is_no_crash(pool: ChildPool, said: str) -> None:
    assert await act(pool, do="abort", said=said) == ends.OutOfMemory(SPEC.memory_bytes)
    assert isinstance(await act(pool, do="abort", said="double free or corruption\n"), ends.Crashed)
    assert await works(pool)


async def test_a_child_that_got_no_memory_and_takes_long_to_die_is_no_crash(pool: ChildPool) -> None:
    without_memory = (ends.OutOfMemory(SPEC.memory_bytes), ends.TimedOut(5.0))  # below `unshare` its end is not seen
    assert await act(pool, 5.0, do="close_channel", said="memory allocation of 5 bytes failed\n") in without_memory
    assert await works(pool)


async def test_native_code_that_reaches_the_limit_is_out_of_memory(pool: ChildPool) -> None:
    assert await act(pool, 60.0, do="allocate_natively", words=6_000_000) == ends.OutOfMemory(SPEC.memory_bytes)
    assert await works(pool)


async def test_a_silent_end_is_judged_by_the_memory_that_the_child_had(pool: ChildPool) -> None:
    assert await act(pool, do="abort_with", held=int(0.8 * SPEC.memory_bytes)) == ends.OutOfMemory(SPEC.memory_bytes)
    assert isinstance(await act(pool, do="abort_with", held=1), ends.Crashed)
    assert await works(pool)


async def test_what_a_child_says_while_nobody_calls_it_is_forgotten(pool: ChildPool) -> None:
    assert isinstance(await act(pool, do="say", words="MemoryError"), ends.Result)
    assert isinstance(await act(pool, do="say", words="MemoryError"), ends.Result)
    assert await act(pool, do="crash") == ends.Crashed("SIGSEGV")


async def test_calls_in_a_row_go_to_one_child_and_who_is_patient_comes_last(guardian: Guardian) -> None:
    async with ChildPool.open(guardian, SPEC, 1, sandbox.shut_in("rlimit")) as pool:
        order = []

        async def call(name: str, *, patient: bool) -> None:
            await pool.run({"do": "echo", "value": name}, 20.0, ANYTHING, patient=patient)
            order.append(name)

        async with pool.calls() as calls:
            pids = [await calls.run({"do": "pid"}, 20.0, ANYTHING) for _ in range(3)]
            waiting = [
                asyncio.ensure_future(call(name, patient=name.startswith("patient"))) for name in ("patient 1", "a", "patient 2", "b")
            ]
            await asyncio.sleep(0)
            assert isinstance(await calls.run({"do": "crash"}, 20.0, ANYTHING), ends.Crashed)
            assert isinstance(await calls.run({"do": "pid"}, 20.0, ANYTHING), ends.Result)
        await asyncio.gather(*waiting)
    assert len({pid.value for pid in pids if isinstance(pid, ends.Result)}) == 1
    assert order == ["a", "b", "patient 1", "patient 2"]
