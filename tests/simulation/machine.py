"""A worker's machine: its guardian, and the children in which documents run, which no frozen main process stops.

Documents take virtual time. Every start and end is told to the ledger of executions, in the children's name: what a
coordinator believes of them is compared with it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from doctrain_worker.pipeline.processor import DONE, DocumentTask, ErrorClass, Failure, Outcome, ShardContext
from doctrain_worker.sandbox.shared.fenced import FencedError
from doctrain_worker.sandbox.shared.memory import Predecessor
from simulation.virtual_loop import PROCESS, virtual_loop

POLL_SECONDS = 0.04
KILL_SECONDS = 0.05
NOBODY = Predecessor(0, self_fenced=False)


@dataclass(eq=False)
class Execution:
    """One run of one document in a child; ``told_at`` is when the main process learned of its end."""

    machine: str
    document: DocumentTask
    shard: ShardContext
    future: asyncio.Future[Outcome]
    started: float
    place: int
    end: str = ""
    told_at: float | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[int, int]:
        """The document."""
        return self.shard.training, self.document.ordinal


@dataclass
class Habits:
    """How documents behave. ``poison`` kill whoever runs them, ``hogs`` keep the whole machine busy until they are killed."""

    seconds: tuple[float, float] = (0.005, 0.4)
    slow: float = 0.05
    slow_seconds: tuple[float, float] = (1.0, 12.0)
    transient: float = 0.03
    permanent: float = 0.03
    poison: frozenset[tuple[str, int]] = frozenset()
    hogs: frozenset[tuple[str, int]] = frozenset()


class Machine:
    """One a worker's name. ``session`` and the epochs are the guardian's memory, which outlives a main process."""

    fences = True

    def __init__(self, name: str, draw: random.Random, habits: Habits, ledger: Any) -> None:
        self.name, self._draw, self._habits, self._ledger = name, draw, habits, ledger
        self._places = itertools.count(1)
        self.running: dict[int, Execution] = {}
        self.session = NOBODY
        self.deadline = 0.0
        self.epoch = 0
        self.on_poison: Callable[[], None] = lambda: None
        self.on_hog: Callable[[Execution], None] = lambda _: None
        self._told: list[asyncio.Future[str]] = []

    def start(self, document: DocumentTask, shard: ShardContext) -> Execution:
        """A child begins with a document."""
        loop = virtual_loop()
        execution = Execution(self.name, document, shard, loop.create_future(), loop.time(), next(self._places))
        self.running[execution.place] = execution
        self._ledger.started(execution)
        habits, draw = self._habits, self._draw
        seconds = draw.uniform(*(habits.slow_seconds if draw.random() < habits.slow else habits.seconds))
        if (shard.training_task_id, document.ordinal) in habits.poison:
            execution.timer = loop.later(seconds, self._poisoned, execution)
            return execution
        if (shard.training_task_id, document.ordinal) in habits.hogs:
            execution.timer = loop.later(seconds, self.on_hog, execution)
            return execution
        at = draw.random()
        outcome: Outcome = DONE
        if at < habits.transient:
            outcome = Failure(ErrorClass.TRANSIENT, "AWAY", "Its source is away.")
        elif at < habits.transient + habits.permanent:
            outcome = Failure(ErrorClass.PERMANENT, "BROKEN", "It is broken.")
        execution.timer = loop.later(seconds, self._ended, execution, outcome)
        return execution

    def kill(self, execution: Execution) -> None:
        """Its child is dead."""
        self._leave(execution, "killed")

    def kill_all(self) -> None:
        """Every child is dead; whoever waits for one hears of it."""
        for execution in tuple(self.running.values()):
            self._leave(execution, "killed")
            if not execution.future.done():
                execution.future.set_exception(FencedError("The children were killed."))
                execution.future.exception()

    def fence(self, why: str) -> None:
        """All children of the session are dead, and the main process is told."""
        self.epoch += 1
        self.deadline = 0.0
        self.kill_all()
        told, self._told = self._told, []
        for future in told:
            if not future.done():
                future.set_result(why)

    def kill_seconds(self) -> float:
        """How long it takes until killed children are dead."""
        return self._draw.uniform(0.001, KILL_SECONDS)

    def fenced(self) -> asyncio.Future[str]:
        """Resolved at the next fence."""
        future = virtual_loop().create_future()
        self._told.append(future)
        return future

    def extend(self, deadline: float) -> None:
        """The guardian looks at the deadline every few milliseconds."""
        self.deadline = max(self.deadline, deadline)
        loop = virtual_loop()
        loop.later(max(0.0, deadline - loop.time()) + self._draw.uniform(0.0, POLL_SECONDS + KILL_SECONDS), self._look)

    def _look(self) -> None:
        if self.fences and self.deadline and virtual_loop().time() > self.deadline:
            self.fence("deadline")

    def _ended(self, execution: Execution, outcome: Outcome) -> None:
        self._leave(execution, "done" if outcome is DONE else outcome.error_class.name.lower())  # type: ignore[union-attr]
        if not execution.future.done():
            execution.future.set_result(outcome)

    def _poisoned(self, execution: Execution) -> None:
        if execution.place in self.running:
            self.on_poison()

    def _leave(self, execution: Execution, end: str) -> None:
        if self.running.pop(execution.place, None) is not None:
            if execution.timer is not None:
                execution.timer.cancel()
            execution.end = end
            self._ledger.ended(execution)


class Guardian:
    """What a main process sees of its guardian; the rules are those of ``sandbox.main.link.Guardian``."""

    pid = 1

    def __init__(self, machine: Machine, predecessor: Predecessor) -> None:
        self._machine, self.predecessor = machine, predecessor
        self._epoch = machine.epoch
        process = PROCESS.get()
        assert process is not None
        self.process = process

    @property
    def fenced(self) -> bool:
        machine = self._machine
        return not self.process.alive or machine.epoch != self._epoch or (machine.fences and 0.0 < machine.deadline < virtual_loop().time())

    def check(self) -> None:
        if self.fenced:
            raise FencedError("The children of this session were stopped.")

    def note_session(self, session: int, secret: bytes) -> None:
        if self.process.alive:
            self._machine.deadline = 0.0
            self._epoch = self._machine.epoch
            self._machine.session = Predecessor(session, self_fenced=False, secret=secret)

    def extend(self, deadline_seconds: float) -> bool:
        if self.fenced:
            return False
        self._machine.extend(deadline_seconds)
        return not self.fenced

    async def wait_fenced(self) -> str:
        if self._machine.epoch != self._epoch:
            return "deadline"
        return await self._machine.fenced()

    async def wait_lost(self) -> NoReturn:
        await asyncio.Event().wait()  # a machine's fault takes the guardian and its main process together
        raise AssertionError

    async def fence(self) -> None:
        if self._machine.epoch == self._epoch and self.process.alive:
            told = self._machine.fenced()
            virtual_loop().later(self._machine.kill_seconds(), self._machine.fence, "order")
            await told
        if self.process.alive and self._machine.session.session:
            self._machine.session = replace(self._machine.session, self_fenced=True)


class Processor:
    """Runs documents in the machine's children."""

    def __init__(self, machine: Machine, guardian: Guardian) -> None:
        self._machine, self._guardian = machine, guardian

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        self._guardian.check()
        execution = self._machine.start(document, shard)
        try:
            outcome = await execution.future
        except asyncio.CancelledError:
            if self._guardian.process.alive:  # else its guardian kills it, a little later
                self._machine.kill(execution)
            raise
        finally:
            execution.told_at = virtual_loop().time()
        return outcome
