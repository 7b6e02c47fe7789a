"""One seed from start to rest: the mesh, its tenants, its faults, and whether every promise held.

A seed decides everything, so that one that fails fails again: ``make simulate SEED=n`` prints its event log.
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
        return f"Seed {self.seed} broke promises:\n{lines}\nReplay it with its event log: make simulate SEED={self.seed}"


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
            await _course(mesh, scenario, draw)
        finally:
            await _close(mesh)
            outcome.seconds = loop.time() - START
    outcome.violations += [f"a process failed by itself: {crash}" for crash in mesh.crashes]


async def _course(mesh: Mesh, scenario: Scenario, draw: random.Random) -> None:
    mesh.store.database.plans = dict(scenario.slots)
    mesh.habits.poison, mesh.habits.slow = scenario.poison, scenario.slow
    if scenario.quick:
        mesh.habits.seconds = (0.001, 0.02)
    keys = {name: mesh.store.database.add_tenant(name, plan) for name, plan in scenario.tenants.items()}
    for _ in range(scenario.coordinators):
        mesh.add_coordinator()
    for lanes in scenario.lanes:
        mesh.add_worker(lanes)
    wishers = [Wisher(mesh, wish, keys[wish.tenant], draw) for wish in scenario.wishes]
    loop = virtual_loop()
    work: list[asyncio.Task[Any]] = [loop.outside(wisher.run(), name=wisher.wish.task_id) for wisher in wishers]
    faults = loop.outside(Faults(mesh, scenario, draw).run(), name="faults")
    until = float("inf")
    try:
        while not mesh.ledger.violations and not mesh.crashes:
            await asyncio.sleep(LOOK_SECONDS)
            for task in work:
                if task.done():
                    task.result()
            if not faults.done():
                continue
            faults.result()
            until = min(until, loop.time() + REST_SECONDS)
            if rest.at_rest(mesh, wishers):
                mesh.ledger.violations += rest.broken(mesh, wishers)
                return
            if loop.time() > until:
                mesh.ledger.violated("the mesh does not come to rest: " + "; ".join(rest.missing(mesh, wishers)))
    finally:
        for task in (*work, faults):
            task.cancel()
        await asyncio.wait((*work, faults))
        for task in work:
            if not task.cancelled() and task.exception() is not None:
                mesh.crashes.append(repr(task.exception()))


async def _close(mesh: Mesh) -> None:
    mesh.close()
    loop = virtual_loop()
    end = loop.time() + UNWIND_SECONDS
    this = asyncio.current_task()
    while (left := [task for task in asyncio.all_tasks() if task is not this]) and loop.time() < end:
        await asyncio.sleep(LOOK_SECONDS)
    if left:
        mesh.crashes.append(f"tasks outlive their process: {sorted(task.get_name() for task in left)}")
