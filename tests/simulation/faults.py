"""Makes the faults of a scenario happen for its time, and then heals all of them; what is frozen thaws in its own time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from simulation.mesh import Member, Mesh
from simulation.network import JUST_SECONDS
from simulation.scenario import RATES, Scenario
from simulation.virtual_loop import Process, virtual_loop
from testkit.subscriptions import subscribed, unsubscribe

FROZEN_SECONDS = (0.2, 12.0)
CUT_SECONDS = (0.2, 8.0)
AWAY_SECONDS = (0.2, 3.0)
ORDER_PAUSE = 1.5
PLAN_PAUSE = 2.0
SUBSCRIPTION_PAUSE = 2.0


class Faults:
    """The faults of one run."""

    def __init__(self, mesh: Mesh, scenario: Scenario, draw: random.Random) -> None:
        self._mesh, self._scenario, self._draw = mesh, scenario, draw
        self._frozen: dict[Process, None] = {}

    async def run(self) -> None:
        """Returns when all is healed."""
        scenario, draw, mesh = self._scenario, self._draw, self._mesh
        self._set_rates(scenario.rates)
        mesh.store.faults.two_leaders = scenario.two_leaders
        loop = virtual_loop()
        end = loop.time() + scenario.fault_seconds
        while scenario.events and loop.time() < end:
            await asyncio.sleep(draw.expovariate(1 / scenario.pause))
            kind = draw.choice(scenario.events)
            mesh.note("fault", kind)
            fault: Callable[[], None] = getattr(self, f"_{kind}")
            fault()
        await asyncio.sleep(max(0.0, end - loop.time()))
        self._heal()

    async def order_workers(self, draw: random.Random) -> None:
        """An operator takes workers out of work and back, for as long as there are faults."""
        loop, database = virtual_loop(), self._mesh.store.database
        end = loop.time() + self._scenario.fault_seconds
        while loop.time() < end:
            await asyncio.sleep(draw.expovariate(1 / ORDER_PAUSE))
            worker = draw.choice(self._mesh.workers).name
            order = draw.choice(["cordon", "drain", "uncordon"])
            self._mesh.note(order, worker)
            if order == "uncordon":
                database.end_order(worker)
            else:
                database.order(worker, None if order == "cordon" else draw.uniform(0.0, 2.0))
        for member in self._mesh.workers:
            database.end_order(member.name)

    async def cut_off_from_broker(self, draw: random.Random) -> None:
        """Workers lose their subscriptions alone, and make them again, for as long as there are faults."""
        loop, broker = virtual_loop(), self._mesh.broker
        end = loop.time() + self._scenario.fault_seconds
        while loop.time() < end:
            await asyncio.sleep(draw.expovariate(1 / SUBSCRIPTION_PAUSE))
            if consumers := subscribed(broker):
                place, seconds = draw.randrange(len(consumers)), draw.uniform(*CUT_SECONDS)
                self._mesh.note("unsubscribed", place, f"{seconds:.3f}")
                loop.later(seconds, unsubscribe(consumers[place]))

    async def change_plans(self, draw: random.Random) -> None:
        """An operator gives plans more or fewer slots, and in the end what they had, for as long as there are faults."""
        loop, plans = virtual_loop(), self._mesh.store.database.plans
        end = loop.time() + self._scenario.fault_seconds
        while loop.time() < end:
            await asyncio.sleep(draw.expovariate(1 / PLAN_PAUSE))
            plan, slots = draw.choice(list(plans)), draw.choice([1, 2, 5, 12])
            self._mesh.note("plan", plan, slots)
            plans[plan] = slots
        plans.update(self._scenario.slots)

    def _set_rates(self, rates: dict[str, float]) -> None:
        mesh = self._mesh
        parts = {"store": mesh.store.faults, "network": mesh.network, "broker": mesh.broker}
        for name in RATES:
            part, _, rate = name.partition(".")
            setattr(parts[part], rate, rates.get(name, 0.0))

    def _heal(self) -> None:
        self._mesh.note("healed")
        self._set_rates({})
        self._mesh.network.heal_all()
        self._mesh.store.start()

    def _one(self, members: list[Member]) -> Member:
        return self._draw.choice(members)

    def _freeze(self, member: Member) -> None:
        process, broken_at = member.process, self._mesh.network.broken_at.get(member.name, float("-inf"))
        if process is not None and process.alive and not process.frozen and virtual_loop().time() - broken_at > JUST_SECONDS:
            seconds = self._draw.uniform(*FROZEN_SECONDS)
            self._mesh.note("frozen", member.name, f"{seconds:.3f}")
            process.freeze()
            self._frozen[process] = None
            virtual_loop().later(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if self._frozen.pop(process, process) is None:
            self._mesh.note("thawed", process.name)
            process.thaw()

    def _crash_coordinator(self) -> None:
        self._mesh.crash(self._one(self._mesh.coordinators), machine=self._draw.random() < 0.3)

    def _crash_worker(self) -> None:
        self._mesh.crash(self._one(self._mesh.workers))

    def _crash_machine(self) -> None:
        self._mesh.crash(self._one(self._mesh.workers), machine=True)

    def _freeze_coordinator(self) -> None:
        self._freeze(self._one(self._mesh.coordinators))

    def _freeze_worker(self) -> None:
        self._freeze(self._one(self._mesh.workers))

    def _leave_coordinator(self) -> None:
        self._mesh.leave(self._one(self._mesh.coordinators))

    def _leave_worker(self) -> None:
        self._mesh.leave(self._one(self._mesh.workers))

    def _cut_link(self) -> None:
        self._cut(self._one(self._mesh.workers), [self._one(self._mesh.coordinators)])

    def _cut_worker(self) -> None:
        self._cut(self._one(self._mesh.workers), self._mesh.coordinators)

    def _cut(self, worker: Member, coordinators: list[Member]) -> None:
        seconds = self._draw.uniform(*CUT_SECONDS)
        for coordinator in coordinators:
            link = worker.name, f"{coordinator.name}:1"
            self._mesh.note("cut", *link, f"{seconds:.3f}")
            self._mesh.network.cut(link)
            virtual_loop().later(seconds, self._mesh.network.heal, link)

    def _break_stream(self) -> None:
        self._mesh.network.shatter_one()

    def _break_connection(self) -> None:
        self._mesh.store.cut_one(self._draw)

    def _depose_leader(self) -> None:
        self._mesh.store.cut_leader()

    def _restart_store(self) -> None:
        self._mesh.store.stop()
        virtual_loop().later(self._draw.uniform(*AWAY_SECONDS), self._mesh.store.start)

    def _deliver_again(self) -> None:
        self._mesh.broker.deliver_again()

    def _wipe_broker(self) -> None:
        self._mesh.broker.wipe()
