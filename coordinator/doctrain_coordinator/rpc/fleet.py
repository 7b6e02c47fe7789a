"""FleetService: what operators see of the fleet, and (``fleet_tenants``) what they set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from doctrain.v1 import fleet_pb2 as pb
from doctrain_coordinator.dispatch.dead_letters import DeadLetter, DeadLetters
from doctrain_coordinator.dispatch.queue import read_queue
from doctrain_coordinator.rpc import tokens, translate
from doctrain_coordinator.rpc.fleet_tenants import TenantCalls, TenantParts
from doctrain_coordinator.rpc.violations import page_size
from doctrain_coordinator.tracking.workers import LiveSession, live_workers
from doctrain_coordinator.trainings.all_trainings import AllTrainings
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.postgres import Pool
from doctrain_mesh.registry import membership
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
ASIDE_SECONDS = 2.0
MOST_CPUS, MOST_BYTES = 1_000_000, 2**60


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What the service needs."""

    pool: Pool
    all_trainings: AllTrainings
    tenants: TenantParts
    broker: Broker
    registry: Registry
    dead_letters: DeadLetters
    silent_seconds: float


class FleetService(TenantCalls):
    """What operators call."""

    def __init__(self, parts: FleetParts) -> None:
        super().__init__(parts.tenants)
        self._parts = parts
        self._records = membership.Reader()

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        sessions = await live_workers(self._parts.pool)
        listed = await self._listed()
        workers = [_worker(session, self._said(session, listed or {}), self._parts.silent_seconds) for session in sessions]
        return pb.ListWorkersResponse(workers=workers, registry_answered=listed is not None)

    def _said(self, session: LiveSession, listed: Mapping[str, bytes]) -> dict[str, Any] | None:
        """What the worker of a session says of itself, which is said by its present boot."""
        key = f"{membership.WORKERS}{session.worker_id}"
        return self._records.read(key, listed[key], membership.facts) if session.newest and key in listed else None

    async def _listed(self) -> Mapping[str, bytes] | None:
        try:
            async with deadline("Reading the registry", ASIDE_SECONDS):
                return await self._parts.registry.list(membership.WORKERS)
        except UnavailableError as error:
            log.warning("Workers are listed without their loads: %s", error)
            return None

    async def GetQueue(self, request: pb.GetQueueRequest, context: Any) -> pb.GetQueueResponse:
        queue = await read_queue(self._parts.pool)
        response = pb.GetQueueResponse(
            pending_shards=queue.pending,
            dispatched_shards=queue.dispatched,
            running_shards=queue.running,
            open_documents=queue.open,
            broker_messages=await self._depth(),
            tenants=[pb.TenantQueue(tenant_id=t.name, pending_shards=t.pending, slots_in_use=t.used, slots=t.slots) for t in queue.tenants],
        )
        if queue.oldest_wait is not None:
            response.oldest_wait.FromTimedelta(timedelta(seconds=max(0.0, queue.oldest_wait)))
        return response

    async def _depth(self) -> int:
        try:
            async with deadline("Reading the broker's queue", ASIDE_SECONDS):
                return (await self._parts.broker.depth()).ready
        except UnavailableError as error:
            log.warning("The queue is shown without the broker's: %s", error)
            return -1

    async def ListAllTrainings(self, request: pb.ListAllTrainingsRequest, context: Any) -> pb.ListAllTrainingsResponse:
        size = page_size(request.page_size, 50, 500)
        before = tokens.read("ListAllTrainings", request.page_token, 1, "page token")[0] if request.page_token else tokens.MOST
        found = await self._parts.all_trainings.page(before, size, open_only=request.open_only)
        token = tokens.make("ListAllTrainings", found[-1][1].training.id) if len(found) == size else ""
        trainings = [pb.TenantTraining(tenant_id=tenant_id, training=translate.training(seen)) for tenant_id, seen in found]
        return pb.ListAllTrainingsResponse(trainings=trainings, next_page_token=token)

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        letters = await self._parts.dead_letters.newest(page_size(request.page_size, 50, 500))
        return pb.ListDeadLettersResponse(dead_letters=[_dead_letter(letter) for letter in letters])


def _dead_letter(letter: DeadLetter) -> pb.DeadLetter:
    message = pb.DeadLetter(cause=letter.cause, shard=letter.shard, number=letter.number, explanation=letter.explanation)
    message.found_time.FromDatetime(letter.found_at)
    return message


def _worker(session: LiveSession, record: dict[str, Any] | None, silent_seconds: float) -> pb.Worker:
    said = record or {}
    worker = pb.Worker(
        worker_id=session.worker_id,
        session_id=session.id,
        lanes=session.lanes,
        lanes_in_use=session.shards,
        slots_in_use=session.slots,
        draining=session.draining,
        version=session.version,
        cpu=_number(said.get("cpu"), MOST_CPUS),
        memory_bytes=int(_number(said.get("memory_bytes"), MOST_BYTES)),
        registered=record is not None,
    )
    worker.open_time.FromDatetime(session.opened_at)
    if session.gone or session.silence > silent_seconds:
        worker.silence.FromTimedelta(timedelta(seconds=max(0.0, session.silence)))
    return worker


def _number(value: object, most: int) -> float:
    """What a record says, -1 where it says no such thing: any worker may write what it likes there."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most else -1.0
