"""Calls wait their turn: no tenant has more than its part, and none keeps the others from theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from doctrain_coordinator.rpc.gates import Gate
from doctrain_mesh.errors import QuotaExceededError


class Calls:
    """Calls through one gate, each served until it is told to end."""

    def __init__(self, gate: Gate, group: asyncio.TaskGroup) -> None:
        self._gate, self._group = gate, group
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.served: list[str] = []
        self.aside: list[str] = []

    async def make(self, name: str, tenant: int) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = self._group.create_task(self._serve(name, tenant))
        await _settle()

    async def make_aside(self, name: str, tenant: int) -> None:
        """One that first waits for somebody else's server, until it is ended, and then is served until it is ended again."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = self._group.create_task(self._wait_aside(name, tenant))
        await _settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await _settle()

    async def _serve(self, name: str, tenant: int) -> None:
        async with self._gate.place(tenant) as place, self._gate.turn(place):
            await self._until_ended(name, self.served)

    async def _wait_aside(self, name: str, tenant: int) -> None:
        async with self._gate.place(tenant) as place, self._gate.turn(place) as turn:
            async with turn.aside():
                await self._until_ended(name, self.aside)
            self._ends[name].clear()
            await self._until_ended(name, self.served)

    async def _until_ended(self, name: str, among: list[str]) -> None:
        among.append(name)
        try:
            await self._ends[name].wait()
        finally:
            among.remove(name)


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def calls(gate: Gate) -> AsyncIterator[Calls]:
    async with asyncio.TaskGroup() as group:
        made = Calls(gate, group)
        yield made
        for task in made.tasks.values():
            task.cancel()


async def test_a_tenant_waits_for_its_own_calls_and_for_nobody_elses() -> None:
    async with calls(Gate(of_tenant=2, in_all=10, at_hand=10, waiting=5)) as made:
        for name in ("a1", "a2", "a3", "a4"):
            await made.make(name, 1)
        await made.make("b1", 2)
        assert made.served == ["a1", "a2", "b1"]
        await made.end("a2")
        assert made.served == ["a1", "b1", "a3"]


async def test_all_tenants_together_have_a_limit_too() -> None:
    async with calls(Gate(of_tenant=2, in_all=2, at_hand=9, waiting=5)) as made:
        for tenant in (1, 2, 3):
            await made.make(f"call of {tenant}", tenant)
        assert made.served == ["call of 1", "call of 2"]
        made.tasks["call of 2"].cancel()
        await _settle()
        await made.end("call of 1")
        assert made.served == ["call of 3"]


async def test_who_has_too_many_waiting_is_refused_until_some_are_served() -> None:
    gate = Gate(of_tenant=1, in_all=10, at_hand=10, waiting=1)
    async with calls(gate) as made:
        await made.make("served", 1)
        await made.make("waits", 1)
        with pytest.raises(QuotaExceededError, match="More than 2 such calls at once") as refused:
            async with gate.place(1):
                raise AssertionError("it passed")
        assert refused.value.metadata == {"limit": "2", "unit": "calls"}
        assert refused.value.retry_after_seconds is not None
        async with gate.place(2):
            pass
        made.tasks["waits"].cancel()
        await _settle()
        await made.make("next", 1)
        await made.end("served")
        assert made.served == ["next"]


async def test_a_call_that_waits_for_somebody_elses_server_keeps_its_tenant_waiting_and_nobody_else() -> None:
    async with calls(Gate(of_tenant=2, in_all=1, at_hand=1, waiting=5)) as made:
        for name in ("a1", "a2", "a3"):
            await made.make_aside(name, 1)
        assert made.aside == ["a1", "a2"]
        await made.make("b1", 2)
        assert made.served == ["b1"]
        await made.end("a1")
        assert made.served == ["b1"], "it takes a turn again"
        await made.end("b1")
        assert made.served == ["a1"]
        await made.end("a1")
        assert (made.aside, made.served) == (["a2", "a3"], [])


async def test_a_turn_is_given_back_once_wherever_its_call_is_cancelled() -> None:
    async with calls(Gate(of_tenant=2, in_all=1, at_hand=1, waiting=5)) as made:
        await made.make_aside("aside", 1)
        await made.make_aside("back in line", 1)
        await made.make("served", 2)
        await made.end("back in line")
        for name in ("aside", "back in line"):
            made.tasks[name].cancel()
        await _settle()
        await made.make("next", 3)
        assert made.served == ["served"]
        await made.end("served")
        assert made.served == ["next"]
        await made.end("next")
        await made.make("last", 3)
        assert made.served == ["last"]


async def test_a_call_whose_server_fails_it_ends_without_a_turn() -> None:
    gate = Gate(of_tenant=2, in_all=1, at_hand=2, waiting=5)

    async def fail() -> None:
        async with gate.place(1) as place, gate.turn(place) as turn, turn.aside():
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await fail()
    async with calls(gate) as made:
        await made.make("b1", 2)
        await made.make("c1", 3)
        assert made.served == ["b1"]
