"""Tenants of one run: they start, watch and cancel trainings through whichever coordinator answers, again until it is said."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.rpc.caller import CALLER, TURN
from doctrain_coordinator.rpc.gates import Turn
from doctrain_coordinator.rpc.places import Place
from doctrain_coordinator.tenants.identity import ROLE_TENANT, Identity
from doctrain_mesh.errors import UnavailableError
from simulation.mesh import Mesh
from simulation.scenario import Wish

CALL_SECONDS = 8.0
PAUSE_SECONDS = 0.3
ENDED = frozenset({3, 4, 5, 6})


class Wisher:
    """One wish on its way; ``training`` is its key once it was accepted, ``done`` when nothing of it is left to say."""

    def __init__(self, mesh: Mesh, wish: Wish, tenant: int, draw: random.Random) -> None:
        self.wish, self._mesh, self._draw = wish, mesh, draw
        self._identity = Identity(ROLE_TENANT, tenant, wish.tenant)
        self.accepted = self.cancelled = self.done = False
        self._version, self._seen, self._ended = 0, 0, 0
        self._position = ""

    async def run(self) -> None:
        """Starts the training, watches it, and cancels or pauses it if that is the wish."""
        await asyncio.sleep(self.wish.at)
        request = self._request()
        await self._until_answered(lambda service: service.StartTraining(request, None))
        self.accepted = True
        self._mesh.note("accepted", self.wish.task_id)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._watch())
            if self.wish.cancelled_after is not None:
                both.create_task(self._cancel(self.wish.cancelled_after))
            if self.wish.paused_after is not None:
                both.create_task(self._pause(self.wish.paused_after))
        self.done = True

    async def _cancel(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        request = pb.CancelTrainingRequest(training_task_id=self.wish.task_id)
        answer = await self._until_answered(lambda service: service.CancelTraining(request, None))
        self.cancelled = True
        self._mesh.note("cancelled", self.wish.task_id, answer.training.state)
        if answer.training.state not in ENDED:
            self._mesh.ledger.violated(f"{self.wish.task_id} is cancelled and goes on in state {answer.training.state}")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        request = pb.PauseTrainingRequest(training_task_id=self.wish.task_id)
        paused = await self._until_answered(lambda service: service.PauseTraining(request, None))
        self._mesh.note("paused", self.wish.task_id, paused.training.state)
        if not paused.training.paused and paused.training.state not in ENDED:
            self._mesh.ledger.violated(f"{self.wish.task_id} is paused and goes on in state {paused.training.state}")
        await asyncio.sleep(self._draw.uniform(0.0, 6.0))
        await self._until_answered(
            lambda service: service.ResumeTraining(pb.ResumeTrainingRequest(training_task_id=self.wish.task_id), None)
        )
        self._mesh.note("resumed", self.wish.task_id)

    async def _watch(self) -> None:
        while self._ended not in ENDED:
            await self._call(self._follow)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, service: Any) -> None:
        position = self._position if self._draw.random() < 0.7 else ""
        request = pb.WatchStatusRequest(training_task_id=self.wish.task_id, resume_position=position)
        async for response in service.WatchStatus(request, None):
            if response.HasField("training"):
                self._saw(response)

    def _saw(self, response: pb.WatchStatusResponse) -> None:
        self._position = response.resume_position
        training = response.training
        ended, version = training.completed + training.failed, training.version
        self._mesh.note("watched", self.wish.task_id, version, ended)
        if version < self._version or ended < self._seen:
            self._mesh.ledger.violated(f"{self.wish.task_id} was seen at version {self._version} and then at {version} (promise 7)")
        self._version, self._seen, self._ended = version, ended, training.state

    def _request(self) -> pb.StartTrainingRequest:
        wish = self.wish
        if wish.numbered:
            numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=wish.documents)
            return pb.StartTrainingRequest(training_task_id=wish.task_id, numbered=numbered)
        documents = [pb.DocumentInput(document_id=f"d{n}", uri=f"s3://bucket/{n}") for n in range(wish.documents)]
        return pb.StartTrainingRequest(training_task_id=wish.task_id, documents=documents)

    async def _until_answered(self, call: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        while True:
            answer = await self._call(call)
            if answer is not None:
                return answer
            await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, call: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """One call to some coordinator; None when there is no answer, whatever came of it there."""
        member = self._draw.choice(self._mesh.coordinators)
        service, process = self._mesh.training_service(member), member.process
        if service is None or process is None:
            return None

        async def served() -> Any:
            CALLER.set(self._identity)
            TURN.set(Turn(asyncio.Semaphore(), Place(self._identity.tenant, 1.0, leave=lambda _: None)))
            return await call(service)

        await asyncio.sleep(self._mesh.network.latency())
        task = process.spawn(served(), name=f"a call about {self.wish.task_id}")
        await asyncio.wait({task}, timeout=CALL_SECONDS if call != self._follow else None)
        if not task.done():
            task.cancel()
            return None
        if task.cancelled():
            return None
        error = task.exception()
        if error is None:
            return task.result() if self._draw.random() >= self._mesh.store.faults.after * 10 else None
        if not isinstance(error, UnavailableError):
            self._mesh.crashes.append(f"{self.wish.task_id}: {error!r}")
        return None
