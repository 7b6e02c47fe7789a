"""What tenants do during a run: trainings of all kinds, one after the other, watched, some cancelled, until told to stop.

Everything that the service told a client is written down: what it accepted, each watch update, each failure of a call.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import doctrain
from chaos.documents import ASSASSINS, content_of, uri_template
from chaos.world import World
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb

PLANS = {"paid-1": "paid", "paid-2": "paid", "free-1": "free", "free-2": "free", "free-3": "free"}
AT_ONCE = {"paid": 3, "free": 2}
RETRY_SECONDS = 0.5
CANCELLED_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Order:
    """A training to start: documents ``first`` to ``first + count - 1``."""

    training: str
    form: str
    first: int
    count: int


@dataclass
class Workload:
    """``accepted`` counts documents of accepted trainings; ``stop`` lets what runs end and starts nothing more."""

    world: World
    size: float
    accepted: int = 0
    unfinished: set[str] = field(default_factory=set)
    stopping: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def finish(self, seconds: float) -> bool:
        """Waits until all trainings have ended and every watcher knows; False when that took too long."""
        self.stopping = True
        done, late = await asyncio.wait(self.tasks, timeout=seconds)
        for task in done:
            task.result()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    async def tenant(self, name: str, key: str) -> None:
        """One tenant, all its trainings."""
        numbers = itertools.count()
        async with doctrain.AsyncClient(self.world.addresses, api_key=key) as client, asyncio.TaskGroup() as group:
            for lane in range(AT_ONCE[PLANS[name]]):
                draw = random.Random(self.world.random.random())
                group.create_task(self._lane(client, name, lane, numbers, draw))

    async def _lane(self, client: doctrain.AsyncClient, tenant: str, lane: int, numbers: Any, draw: random.Random) -> None:
        for turn in itertools.count():
            if self.stopping:
                return
            order = self._order(tenant, lane, turn, numbers, draw)
            await _Story(self.world, client, tenant, order, draw, self).run()

    def _order(self, tenant: str, lane: int, turn: int, numbers: Any, draw: random.Random) -> Order:
        name = f"{tenant}.{lane}.{turn}"
        if tenant == "free-3" and lane == 1 and turn % 6 == 1:
            count, form, name = 10, "numbered", f"{name}.{ASSASSINS}"
        else:
            form = draw.choices(("numbered", "inline", "manifest"), (6, 2, 2))[0]
            most = {"numbered": 600, "inline": 25, "manifest": 250}[form] * (self.size if PLANS[tenant] == "paid" else self.size / 3)
            count = draw.randint(max(2, int(most / 4)), max(4, int(most)))
        # A thousand numbers apart, so that no two trainings of a tenant have a document in common.
        return Order(name, form, 1000 * next(numbers), count)


class _Story:
    """One training, from its order to the last update of its watch."""

    def __init__(
        self, world: World, client: doctrain.AsyncClient, tenant: str, order: Order, draw: random.Random, workload: Workload
    ) -> None:
        self._world, self._client, self._tenant, self._order, self._draw = world, client, tenant, order, draw
        self._workload = workload

    async def run(self) -> None:
        order = self._order
        await self._insist("start", self._start)
        if self._draw.random() < 0.1:  # a repeated call finds the same training
            again = await self._insist("start", self._start)
            self._note("repeats", existed=again.summary.existed)
        cancel_at = self._draw.uniform(0.0, 0.9) * order.count if self._draw.random() < CANCELLED_SHARE else None
        self._workload.unfinished.add(order.training)
        async with asyncio.TaskGroup() as group:
            if self._draw.random() < 0.3:
                group.create_task(self._watch("second", None))
            await self._watch("first", cancel_at)
        self._workload.unfinished.discard(order.training)

    async def _start(self) -> pb.StartTrainingResponse:
        order = self._order
        if order.form == "numbered":
            numbered = pb.NumberedDocuments(uri_template=uri_template(order.training), first=order.first, count=order.count)
            started = await self._client.start_training(numbered=numbered, training_task_id=order.training)
        elif order.form == "inline":
            documents = [
                pb.DocumentInput(document_id=str(n), content=content_of(order.training, n), media_type="application/json")
                for n in self._numbers
            ]
            started = await self._client.start_training(documents, training_task_id=order.training)
        else:
            started = await self._client.start_training(manifest_uri=self._manifest(), training_task_id=order.training)
        if not started.summary.existed:
            self._workload.accepted += order.count
        self._note("accepted", form=order.form, first=order.first, count=order.count, existed=started.summary.existed)
        return started

    @property
    def _numbers(self) -> range:
        return range(self._order.first, self._order.first + self._order.count)

    def _manifest(self) -> str:
        path = self._world.folder / "documents" / f"{self._order.training}.jsonl"
        template = uri_template(self._order.training)
        lines = [json.dumps({"document_id": str(n), "uri": template.replace("{n}", str(n))}) for n in self._numbers]
        path.write_text("\n".join(lines) + "\n")
        return path.as_uri()

    async def _watch(self, watcher: str, cancel_at: float | None) -> None:
        while True:
            try:
                async for update in self._client.watch(self._order.training):
                    training = update.training
                    self._note(
                        "updates",
                        watcher=watcher,
                        version=training.version,
                        waiting=training.waiting_reason,
                        state=training.state,
                        total=training.total,
                        completed=training.completed,
                        failed=training.failed,
                    )
                    if cancel_at is not None and training.completed >= cancel_at:
                        cancel_at = None
                        ended = await self._insist("cancel", lambda: self._client.cancel(self._order.training))
                        self._note("cancels", state=ended.state)
                return
            except doctrain.DoctrainError as error:
                self._fail("watch", error)
                watcher += "+"
                await asyncio.sleep(RETRY_SECONDS)

    async def _insist(self, call: str, make: Any) -> Any:
        while True:
            try:
                return await make()
            except doctrain.DoctrainError as error:
                self._fail(call, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _note(self, kind: str, /, **facts: Any) -> None:
        self._world.journal.write(kind, tenant=self._tenant, training=self._order.training, **facts)

    def _fail(self, call: str, error: doctrain.DoctrainError) -> None:
        status = error.status.name if error.status is not None else ""
        self._note("failures", call=call, kind=type(error).__name__, status=status, reason=error.reason, sentence=error.sentence)


@asynccontextmanager
async def workload(world: World, size: float = 1.0) -> AsyncIterator[Workload]:
    """Every tenant at work; ``size`` scales the trainings."""
    made = Workload(world, size)
    async with doctrain.AsyncClient(world.addresses, api_key=world.operator_key) as operator:
        keys = [await _key(operator, name, plan) for name, plan in PLANS.items()]
    made.tasks = _start_all(made, list(zip(PLANS, keys, strict=True)))
    try:
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


def _start_all(made: Workload, tenants: Sequence[tuple[str, str]]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(made.tenant(name, key), name=name) for name, key in tenants]


async def _key(operator: doctrain.AsyncClient, name: str, plan: str) -> str:
    await operator.fleet.create_tenant(name, plan=plan)
    return (await operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id=name)).key
