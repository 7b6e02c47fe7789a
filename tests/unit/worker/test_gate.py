"""The door to starting documents."""

from __future__ import annotations

import asyncio

from doctrain_worker.tracking.gate import Gate, Shut


def never() -> bool:
    return False


def test_the_gate_is_shut_until_every_reason_is_gone() -> None:
    gate = Gate()
    gate.close(Shut.DETACHED)
    gate.close(Shut.LATE)
    gate.open(Shut.DETACHED)
    assert not gate.admits(0.0)
    gate.open(Shut.LATE)
    assert gate.admits(0.0)


def test_nothing_starts_after_the_deadline_until_it_is_moved() -> None:
    gate = Gate()
    gate.extend(10.0)
    assert gate.admits(10.0)
    assert not gate.admits(10.1)
    assert gate.shut
    gate.extend(20.0)
    assert gate.admits(10.2)


async def test_who_waits_hears_of_the_opening_and_of_a_call_to_look_again() -> None:
    gate = Gate()
    gate.close(Shut.DETACHED)
    heard: list[str] = []

    async def wait() -> None:
        await gate.changed()
        heard.append("woken")
        await gate.changed()
        heard.append("open" if gate.admits(0.0) else "shut")

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(wait())
        await asyncio.sleep(0)
        gate.wake()
        await asyncio.sleep(0)
        assert heard == ["woken", "woken"]
        gate.open(Shut.DETACHED)
    assert heard[2:] == ["open", "open"]


async def test_who_is_alone_waits_for_what_runs_and_keeps_others_out() -> None:
    gate = Gate()
    gate.entered()
    entered, leave = asyncio.Event(), asyncio.Event()
    second = asyncio.Event()

    async def trial() -> None:
        async with gate.alone(never):
            entered.set()
            await leave.wait()

    async def next_trial() -> None:
        async with gate.alone(never):
            assert leave.is_set()
            second.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(trial())
        await asyncio.sleep(0)
        group.create_task(next_trial())
        await asyncio.sleep(0)
        assert not gate.admits(0.0)
        assert not entered.is_set()
        gate.left()
        await entered.wait()
        leave.set()
        await second.wait()
    assert gate.admits(0.0)


async def test_a_trial_starts_only_attached_and_in_time() -> None:
    gate = Gate()
    gate.extend(10.0)
    async with gate.alone(never):
        admitted = [gate.admits_trial(10.0), gate.admits_trial(10.1)]
        gate.extend(20.0)
        admitted.append(gate.admits_trial(10.1))
        gate.close(Shut.DETACHED)
        admitted.append(gate.admits_trial(10.1))
    assert admitted == [True, False, True, False]


async def test_who_waits_to_be_alone_may_give_up() -> None:
    gate = Gate()
    gate.entered()
    given_up: set[str] = set()

    async def wait(name: str) -> None:
        async with gate.alone(lambda: name in given_up):
            assert name in given_up

    async with asyncio.TaskGroup() as group:
        for name in ("first", "second"):
            group.create_task(wait(name))
        await asyncio.sleep(0)
        given_up.add("second")  # waits for the trial before it
        gate.wake()
        await asyncio.sleep(0)
        assert not gate.admits(0.0)
        given_up.add("first")  # waits for what runs
        gate.wake()
    assert gate.admits(0.0)
