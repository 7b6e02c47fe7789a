"""One seed from start to rest: the mesh, its tenants, its faults, and whether every promise held.

A seed decides everything, so that one that fails fails again: ``make simulate REPLAY=n`` prints its event log.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulation import rest
from simulation.faults import Faults
from simulation.mesh import Mesh
from simulation.product import simulated
from simulation.scenario import Scenario, of_seed
from simulation.tenants import Wisher
from simulation.virtual_loop import START, StuckError, VirtualLoop, virtual_loop

LOOK_SECONDS = 0.25
REST_SECONDS = 240.0
UNWIND_SECONDS = 30.0
ORDERED = 4
"""In one of so many seeds operators take workers out of work."""
REPLANNED = 3
"""In one of so many they change what plans allow, and shards last long enough to notice."""
CUT_OFF = 5
"""In one of so many workers lose their connection to the broker alone."""
LONG = 0.5
"""Documents of those seeds that take seconds."""

Break = Callable[[Mesh, Scenario], None]
"""Breaks a rule of one run on purpose."""


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """The same for the same course of events."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()

    def told(self) -> str:
        """For a person."""
        lines = "\n".join(f"  {line}" for line in self.violations)
        return f"Seed {self.seed} broke promises:\n{lines}\nReplay it with its event log: make simulate REPLAY={self.seed}"


def simulate(seed: int, *, breaks: Break | None = None) -> Outcome:
    """Runs one seed. Nothing of it is left afterwards."""
    outcome = Outcome(seed)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    collects = gc.isenabled()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(_run(outcome, breaks))
    except StuckError as error:
        outcome.violations.append(str(error))
    finally:
        logging.disable(disabled)
        if collects:
            gc.enable()
    return outcome


async def _run(outcome: Outcome, breaks: Break | None) -> None:
    loop, draw = virtual_loop(), random.Random(outcome.seed)
    scenario = of_seed(draw)
    mesh = Mesh(draw)
    outcome.log, outcome.violations = mesh.log, mesh.ledger.violations
    loop.set_exception_handler(lambda _, told: mesh.crashes.append(f"{told['message']}: {told.get('exception')!r}"))
    with simulated(loop, outcome.seed, mesh.store, mesh.network):
        if breaks is not None:
            breaks(mesh, scenario)
        try:
            await _course(mesh, scenario, draw, outcome.seed)
        finally:
            await _close(mesh)
            outcome.seconds = loop.time() - START
    outcome.violations += [f"a process failed by itself: {crash}" for crash in mesh.crashes]
    outcome.violations += [f"transactions waited for each other {lock}" for lock in mesh.store.database.locks.deadlocks]


async def _course(mesh: Mesh, scenario: Scenario, draw: random.Random, seed: int) -> None:
    wishers = _begin(mesh, scenario, draw)
    loop = virtual_loop()
    work: list[asyncio.Task[Any]] = [loop.outside(wisher.run(), name=wisher.wish.task_id) for wisher in wishers]
    made = Faults(mesh, scenario, draw)
    faults = loop.outside(made.run(), name="faults")
    if seed % ORDERED == 0:
        work.append(loop.outside(made.order_workers(random.Random(seed)), name="orders"))  # of its own, so that no other seed changes
    if seed % REPLANNED == 0:
        mesh.habits.slow = LONG
        work.append(loop.outside(made.change_plans(random.Random(f"plans of {seed}")), name="plans"))
    if seed % CUT_OFF == 0:
        work.append(loop.outside(made.cut_off_from_broker(random.Random(f"subscriptions of {seed}")), name="subscriptions"))
    try:
        await _watch(mesh, wishers, [*work, faults], faults)
    finally:
        for task in (*work, faults):
            task.cancel()
        await asyncio.wait((*work, faults))


def _begin(mesh: Mesh, scenario: Scenario, draw: random.Random) -> list[Wisher]:
    mesh.store.database.plans = dict(scenario.slots)
    mesh.habits.slow = scenario.slow
    if scenario.hogs:
        mesh.habits.hogs = scenario.poison
    else:
        mesh.habits.poison = scenario.poison
    if scenario.quick:
        mesh.habits.seconds = (0.001, 0.02)
    keys = {name: mesh.store.database.add_tenant(name, plan) for name, plan in scenario.tenants.items()}
    for _ in range(scenario.coordinators):
        mesh.add_coordinator()
    for lanes in scenario.lanes:
        mesh.add_worker(lanes)
    return [Wisher(mesh, wish, keys[wish.tenant], draw) for wish in scenario.wishes]


async def _watch(mesh: Mesh, wishers: list[Wisher], tasks: list[asyncio.Task[Any]], faults: asyncio.Task[Any]) -> None:
    """Until all is at rest, or something is broken."""
    loop, until = virtual_loop(), float("inf")
    while not mesh.ledger.violations and not mesh.crashes:
        await asyncio.sleep(LOOK_SECONDS)
        for task in tasks:
            if task.done():
                task.result()
        if not faults.done():
            continue
        until = min(until, loop.time() + REST_SECONDS)
        if rest.at_rest(mesh, wishers):
            mesh.ledger.violations += rest.broken(mesh, wishers)
            return
        if loop.time() > until:
            mesh.ledger.violated("the mesh does not come to rest: " + "; ".join(rest.missing(mesh, wishers)))


async def _close(mesh: Mesh) -> None:
    mesh.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, late = await asyncio.wait(others, timeout=UNWIND_SECONDS)
        if late:
            mesh.crashes.append(f"tasks outlive their process: {sorted(task.get_name() for task in late)}")
