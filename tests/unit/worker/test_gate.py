"""The door to starting documents."""

from __future__ import annotations

import asyncio

from doctrain_worker.gate import Gate


def test_the_gate_is_shut_until_every_reason_is_gone() -> None:
    gate = Gate()
    gate.close("a")
    gate.close("b")
    gate.open("a")
    assert not gate.admits(0.0)
    gate.open("b")
    assert gate.admits(0.0)


def test_nothing_starts_after_the_deadline_until_it_is_moved() -> None:
    gate = Gate()
    gate.extend(10.0)
    assert gate.admits(10.0)
    assert not gate.admits(10.1)
    assert gate.shut
    gate.extend(20.0)
    assert gate.admits(10.2)


async def test_who_is_alone_waits_for_what_runs_and_keeps_others_out() -> None:
    gate = Gate()
    gate.running = 1
    entered, leave = asyncio.Event(), asyncio.Event()

    async def trial() -> None:
        async with gate.alone():
            entered.set()
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(trial())
        await asyncio.sleep(0)
        assert not gate.admits(0.0)
        assert not entered.is_set()
        gate.left()
        await entered.wait()
        leave.set()
    assert gate.admits(0.0)
