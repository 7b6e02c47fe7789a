"""FleetService: what operators see of the fleet, and (``fleet_tenants``, ``fleet_concurrency``) what they set."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from doctrain.v1 import fleet_pb2 as pb
from doctrain.v1.training_pb2 import TrainingState
from doctrain_coordinator.dispatch.dead_letters import DeadLetter, DeadLetters
from doctrain_coordinator.dispatch.queue import TenantQueue, read_queue
from doctrain_coordinator.rpc import deeds, shown_workers, tokens, translate
from doctrain_coordinator.rpc.caller import CALLER
from doctrain_coordinator.rpc.fleet_concurrency import ConcurrencyCalls
from doctrain_coordinator.rpc.fleet_tenants import TenantCalls, TenantParts
from doctrain_coordinator.rpc.tracker_requests import MAX_NAME
from doctrain_coordinator.rpc.violations import check_reason, limit, page_size, states_of
from doctrain_coordinator.tenants.concurrency import Concurrency
from doctrain_coordinator.tracking.worker_orders import WorkerOrders
from doctrain_coordinator.tracking.worker_records import WorkerLoads, WorkerRecords
from doctrain_coordinator.tracking.workers import alarm, live_workers
from doctrain_coordinator.trainings.all_trainings import AllTrainings
from doctrain_mesh.errors import UnavailableError, invalid_field
from doctrain_mesh.ports import Broker
from doctrain_mesh.postgres import Pool

log = logging.getLogger(__name__)
MOST_DRAIN_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What the service needs."""

    pool: Pool
    all_trainings: AllTrainings
    tenants: TenantParts
    broker: Broker
    records: WorkerRecords
    dead_letters: DeadLetters
    orders: WorkerOrders
    concurrency: Concurrency
    silent_seconds: float
    drain_seconds: float


class FleetService(TenantCalls, ConcurrencyCalls):
    """What operators call."""

    def __init__(self, parts: FleetParts) -> None:
        TenantCalls.__init__(self, parts.tenants)
        ConcurrencyCalls.__init__(self, parts.concurrency)
        self._parts = parts

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        sessions = await live_workers(self._parts.pool)
        orders = {order.worker_id: order for order in await self._parts.orders.list()}
        loads, silent = await self._read_loads(), self._parts.silent_seconds
        said = {one.id: loads.named(one.worker_id) if loads and one.newest else None for one in sessions}
        workers = [shown_workers.worker(one, said[one.id], orders.get(one.worker_id), silent) for one in sessions]
        workers += [shown_workers.absent(orders[name]) for name in orders.keys() - {one.worker_id for one in sessions}]
        workers.sort(key=lambda worker: (worker.worker_id, worker.session_id))
        alarmed = alarm([(one.worker_id, one.verdict) for one in sessions])
        return pb.ListWorkersResponse(workers=workers, registry_answered=loads is not None, health_alarm=alarmed)

    async def CordonWorker(self, request: pb.CordonWorkerRequest, context: Any) -> pb.CordonWorkerResponse:
        _check_order(request.worker_id, request.reason)
        with deeds.deed(f"worker {request.worker_id}") as deed:
            await self._parts.orders.cordon(request.worker_id, request.reason, CALLER.get().key_id, tell=deed.write)
        return pb.CordonWorkerResponse()

    async def UncordonWorker(self, request: pb.UncordonWorkerRequest, context: Any) -> pb.UncordonWorkerResponse:
        _check_order(request.worker_id, "")
        with deeds.deed(f"worker {request.worker_id}") as deed:
            await self._parts.orders.uncordon(request.worker_id, tell=deed.write)
        return pb.UncordonWorkerResponse()

    async def DrainWorker(self, request: pb.DrainWorkerRequest, context: Any) -> pb.DrainWorkerResponse:
        _check_order(request.worker_id, request.reason)
        given = request.within
        within = given.seconds + given.nanos / 1e9 if request.HasField("within") else self._parts.drain_seconds
        if not 0 <= within <= MOST_DRAIN_SECONDS:
            raise invalid_field("within", "A drain may take from 0 seconds to a day.")
        with deeds.deed(f"worker {request.worker_id}") as deed:
            await self._parts.orders.drain(request.worker_id, within, request.reason, CALLER.get().key_id, tell=deed.write)
        return pb.DrainWorkerResponse()

    async def _read_loads(self) -> WorkerLoads | None:
        try:
            return await self._parts.records.read()
        except UnavailableError as error:
            log.warning("Workers are listed without their loads: %s", error)
            return None

    async def GetQueue(self, request: pb.GetQueueRequest, context: Any) -> pb.GetQueueResponse:
        queue = await read_queue(self._parts.pool)
        response = pb.GetQueueResponse(
            pending_shards=queue.pending,
            paused_shards=queue.paused,
            dispatched_shards=queue.dispatched,
            running_shards=queue.running,
            open_documents=queue.open,
            broker_messages=await self._depth(),
            tenants=[_tenant_queue(tenant) for tenant in queue.tenants],
            health_alarm=queue.health_alarm,
            intake_alarm=queue.intake_alarm,
        )
        if queue.oldest_wait is not None:
            response.oldest_wait.FromTimedelta(timedelta(seconds=max(0.0, queue.oldest_wait)))
        return response

    async def _depth(self) -> int:
        try:
            return (await self._parts.broker.depth()).ready
        except UnavailableError as error:
            log.warning("The queue is shown without the broker's: %s", error)
            return -1

    async def ListAllTrainings(self, request: pb.ListAllTrainingsRequest, context: Any) -> pb.ListAllTrainingsResponse:
        size, states = page_size(request.page_size, 50, 500), states_of(TrainingState, request.states)
        before = tokens.page("ListAllTrainings", request.page_token, tokens.MOST)
        found, before_next = await self._parts.all_trainings.page(before, states, size)
        token = tokens.make("ListAllTrainings", before_next) if before_next is not None else ""
        trainings = [pb.TenantTraining(tenant_id=tenant_id, training=translate.training(seen)) for tenant_id, seen in found]
        return pb.ListAllTrainingsResponse(trainings=trainings, next_page_token=token)

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        letters = await self._parts.dead_letters.newest(limit(request.limit, 50, 500))
        return pb.ListDeadLettersResponse(dead_letters=[_dead_letter(letter) for letter in letters])


def _check_order(worker_id: str, reason: str) -> None:
    """Raises InvalidRequestError."""
    if not 1 <= len(worker_id) <= MAX_NAME or not worker_id.isprintable():
        raise invalid_field("worker_id", f"A worker's name has 1 to {MAX_NAME} characters that can be shown.")
    check_reason(reason)


def _tenant_queue(tenant: TenantQueue) -> pb.TenantQueue:
    return pb.TenantQueue(
        tenant_id=tenant.name,
        pending_shards=tenant.pending,
        paused_shards=tenant.paused,
        slots_in_use=tenant.used,
        slots=tenant.slots,
    )


def _dead_letter(letter: DeadLetter) -> pb.DeadLetter:
    message = pb.DeadLetter(cause=letter.cause, shard=letter.shard, number=letter.number, explanation=letter.explanation)
    message.found_time.FromDatetime(letter.found_at)
    return message
