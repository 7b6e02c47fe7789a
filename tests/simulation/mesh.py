"""The mesh of one run: coordinators and workers as the product wires them, and what keeps their processes going."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import doctrain_coordinator.app
import doctrain_worker.app
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_worker.sandbox.shared.memory import Predecessor
from simulation.broker import SimulatedBroker
from simulation.ledger import Ledger
from simulation.machine import NOBODY, Execution, Guardian, Habits, Machine, Processor
from simulation.network import JUST_SECONDS, Network
from simulation.store.server import StoreServer
from simulation.virtual_loop import Process, virtual_loop

log = logging.getLogger(__name__)
LEASE_SECONDS = 5.0
MARGIN_SECONDS = 1.5
RESTART_SECONDS = (0.2, 2.0)


Run = Callable[["Member", Process, Predecessor], Coroutine[Any, Any, None]]


@dataclass(eq=False)
class Member:
    """A coordinator or a worker by name, through all its processes. ``stop`` asks the present one to leave in order."""

    name: str
    lanes: int = 0
    machine: Machine | None = None
    process: Process | None = None
    running: Any = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Mesh:
    """All parts, and the event log: ``note`` adds a line."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.log: list[str] = []
        self.store = StoreServer(draw, self.note)
        self.network = Network(draw)
        self.ledger = Ledger(self.store.database, self.note)
        self.broker = SimulatedBroker(draw, self._acked)
        self.registry = MemoryRegistry()
        self.habits = Habits()
        self.coordinators: list[Member] = []
        self.workers: list[Member] = []
        self.crashes: list[str] = []
        self.over = False

    def note(self, *what: Any) -> None:
        """A line of the event log."""
        self.log.append(f"{virtual_loop().time():.6f} {' '.join(map(str, what))}")

    def add_coordinator(self) -> None:
        """Starts one."""
        member = Member(f"coordinator-{len(self.coordinators) + 1}")
        self.coordinators.append(member)
        self._start(member, self._coordinate)

    def add_worker(self, lanes: int) -> None:
        """Starts one."""
        member = Member(f"worker-{len(self.workers) + 1}", lanes)
        member.machine = Machine(member.name, self.draw, self.habits, self.ledger)
        self.workers.append(member)
        member.machine.on_poison = lambda: self.crash(member, machine=self.draw.random() < 0.5)
        member.machine.on_hog = lambda execution: self._hog(member, execution)
        self._start(member, self._work)

    def training_service(self, member: Member) -> Any:
        """What a coordinator serves tenants with; None while it serves nobody."""
        process = member.process
        return process.serves if process is not None and process.alive else None

    # Faults of processes

    def crash(self, member: Member, *, machine: bool = False) -> None:
        """SIGKILL of the main process, or, with ``machine``, the power of all of it."""
        process = member.process
        if process is None or not process.alive:
            return
        self.note("crash", member.name, "machine" if machine else "process")
        session = member.machine.session if member.machine is not None else NOBODY
        self._end(process, silent=machine and self.draw.random() < 0.5)
        if member.machine is not None:
            if machine:
                member.machine.session = session = NOBODY
                member.machine.fence("power")
            else:
                virtual_loop().later(member.machine.kill_seconds(), member.machine.fence, "its main process died")
        member.process, member.running = None, None
        start = self._coordinate if member.machine is None else self._work
        pause = self.draw.uniform(*RESTART_SECONDS)
        virtual_loop().later(pause, self._start, member, start, session)

    def _hog(self, member: Member, execution: Execution) -> None:
        """A document keeps its machine busy: the main process stands still until the guardian has killed the children."""
        process, machine, loop = member.process, member.machine, virtual_loop()
        assert machine is not None
        if process is None or not process.alive or execution.place not in machine.running:
            return
        broken_at = self.network.broken_at.get(member.name, float("-inf"))
        if process.frozen or loop.time() - broken_at <= JUST_SECONDS:
            execution.timer = loop.later(JUST_SECONDS, self._hog, member, execution)
            return
        self.note("hogged", member.name, *execution.key)
        process.freeze()
        loop.later(max(0.0, machine.deadline - loop.time()) + self.draw.uniform(0.2, 0.4), process.thaw)

    def leave(self, member: Member) -> None:
        """Asks it to shut down in order; another takes its place."""
        if member.process is not None and member.process.alive:
            self.note("leave", member.name)
            member.stop.set()

    def _end(self, process: Process, *, silent: bool = False) -> None:
        self.store.lose(process)
        self.network.lose(process, silent=silent)
        process.kill()

    # Processes

    def _start(self, member: Member, run: Run, predecessor: Predecessor = NOBODY) -> None:
        if self.over or member.process is not None:
            return
        process = member.process = Process(member.name)
        member.stop = asyncio.Event()
        self.note("start of", member.name, predecessor.session)
        process.spawn(self._supervised(member, process, run, predecessor))

    async def _supervised(self, member: Member, process: Process, run: Run, predecessor: Predecessor) -> None:
        try:
            await run(member, process, predecessor)
            self.note("end of", member.name)
        except BaseException as error:
            if process.alive and not _is_unavailable(error):
                self.crashes.append(f"{member.name}: {error!r}")
                log.exception("%s ended by itself", member.name)
            elif process.alive:
                self.note("end of", member.name, type(error).__name__)
        if process.alive:
            session = member.machine.session if member.machine is not None and not member.stop.is_set() else NOBODY
            if member.machine is not None:
                member.machine.fence("its main process ended")
            virtual_loop().later(0.0, self._bury, member, process, run, session)

    def _bury(self, member: Member, process: Process, run: Run, session: Predecessor) -> None:
        self._end(process)
        if member.process is process:
            member.process, member.running = None, None
            virtual_loop().later(self.draw.uniform(*RESTART_SECONDS), self._start, member, run, session)

    async def _coordinate(self, member: Member, process: Process, _predecessor: Predecessor) -> None:
        settings = Settings(
            name=member.name,
            advertise=f"{member.name}:1",
            lease_seconds=LEASE_SECONDS,
            drain_seconds=2.0,
            database_url="postgres://simulated/mesh",
        )
        async with doctrain_coordinator.app.running(settings, broker=self.broker, registry=self.registry) as member.running:
            await member.stop.wait()

    async def _work(self, member: Member, process: Process, predecessor: Predecessor) -> None:
        settings = Settings(
            name=member.name,
            coordinators=",".join(f"{coordinator.name}:1" for coordinator in self.coordinators),
            lanes=member.lanes,
            fence_margin_seconds=MARGIN_SECONDS,
            drain_seconds=3.0,
            hold_seconds=20.0,
        )
        assert member.machine is not None
        guardian = Guardian(member.machine, predecessor)
        parts: dict[str, Any] = {"guardian": guardian, "processor": Processor(member.machine, guardian), "version": "simulated"}
        async with doctrain_worker.app.running(settings, broker=self.broker, registry=self.registry, **parts) as member.running:
            await member.stop.wait()

    def _acked(self, process: Process | None, shard: int, number: int) -> None:
        member = next(member for member in self.workers if member.process is process)
        self.ledger.acked(member.running.session.id, shard, number)

    def close(self) -> None:
        """Ends every process; what its tasks still do reaches nobody."""
        self.over = True
        processes = [m.process for m in (*self.coordinators, *self.workers) if m.process is not None]
        for process in processes:
            self._end(process)
        self.store.stop()


def _is_unavailable(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_unavailable(inner) for inner in error.exceptions)
    return isinstance(error, UnavailableError)
