"""FleetService: what operators see and set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from doctrain.v1 import fleet_pb2 as pb
from doctrain.v1 import fleet_pb2_grpc
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.dispatch.dead_letters import DeadLetter, DeadLetters
from doctrain_coordinator.dispatch.queue import read_queue
from doctrain_coordinator.rpc import deeds, tokens, translate
from doctrain_coordinator.rpc.violations import check_name, page_size
from doctrain_coordinator.tenants.keys import ROLE_NAMES, Keys, ListedKey
from doctrain_coordinator.tenants.provisioning import Tenant, Tenants
from doctrain_coordinator.tracking.workers import LiveSession, live_workers
from doctrain_coordinator.trainings.all_trainings import AllTrainings
from doctrain_mesh.errors import UnavailableError, invalid_field
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.postgres import Pool
from doctrain_mesh.registry import membership
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
ASIDE_SECONDS = 2.0
MOST_SLOTS = 10_000
MOST_CPUS, MOST_BYTES = 1_000_000, 2**60
MOST_OPEN_TRAININGS, OPEN_TRAININGS = 1_000_000, 1_000
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1_000
DEFAULT_WEIGHT = 1.0
MAX_LABEL_BYTES = 128


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What the service needs."""

    pool: Pool
    all_trainings: AllTrainings
    tenants: Tenants
    keys: Keys
    changes: Changes
    broker: Broker
    registry: Registry
    dead_letters: DeadLetters
    silent_seconds: float


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """What operators call."""

    def __init__(self, parts: FleetParts) -> None:
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

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Any) -> pb.CreateTenantResponse:
        name, weight = _checked(request.tenant)
        check_name("tenant.plan", request.tenant.plan)
        tenant = await self._parts.tenants.create(name, request.tenant.plan, weight or DEFAULT_WEIGHT)
        deeds.tell("Tenant %s was made, of plan %s and weight %g", name, tenant.plan, tenant.weight)
        return pb.CreateTenantResponse(tenant=_tenant(tenant))

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: Any) -> pb.UpdateTenantResponse:
        name, weight = _checked(request.tenant)
        if request.tenant.plan:
            check_name("tenant.plan", request.tenant.plan)
        tenant = await self._parts.tenants.update(name, request.tenant.plan or None, weight)
        self._parts.changes.work()
        deeds.tell("Tenant %s was changed to plan %s and weight %g", name, tenant.plan, tenant.weight)
        return pb.UpdateTenantResponse(tenant=_tenant(tenant))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Any) -> pb.ListTenantsResponse:
        size = page_size(request.page_size, 100, 1000)
        after = tokens.read("ListTenants", request.page_token, 1, "page token")[0] if request.page_token else 0
        tenants = await self._parts.tenants.page(after, size)
        token = tokens.make("ListTenants", tenants[-1].id) if len(tenants) == size else ""
        return pb.ListTenantsResponse(tenants=[_tenant(tenant) for tenant in tenants], next_page_token=token)

    async def PutPlan(self, request: pb.PutPlanRequest, context: Any) -> pb.PutPlanResponse:
        check_name("plan.name", request.plan.name)
        if not 1 <= request.plan.slots <= MOST_SLOTS:
            raise invalid_field("plan.slots", f"A plan allows 1 to {MOST_SLOTS:,} documents at once.")
        open_trainings = request.plan.open_trainings or OPEN_TRAININGS
        if not 1 <= open_trainings <= MOST_OPEN_TRAININGS:
            raise invalid_field("plan.open_trainings", f"A plan allows 1 to {MOST_OPEN_TRAININGS:,} trainings that have not ended.")
        await self._parts.tenants.put_plan(request.plan.name, request.plan.slots, open_trainings)
        self._parts.changes.work()
        deeds.tell("Plan %s was set to %d slots and %d open trainings", request.plan.name, request.plan.slots, open_trainings)
        plan = pb.Plan(name=request.plan.name, slots=request.plan.slots, open_trainings=open_trainings)
        return pb.PutPlanResponse(plan=plan)

    async def ListPlans(self, request: pb.ListPlansRequest, context: Any) -> pb.ListPlansResponse:
        plans = await self._parts.tenants.plans()
        return pb.ListPlansResponse(plans=[pb.Plan(name=plan.name, slots=plan.slots, open_trainings=plan.open_trainings) for plan in plans])

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Any) -> pb.CreateKeyResponse:
        if request.role not in (pb.ROLE_TENANT, pb.ROLE_WORKER, pb.ROLE_OPERATOR):
            raise invalid_field("role", "A key needs a role: tenant, worker or operator.")
        if len(request.label.encode()) > MAX_LABEL_BYTES or (request.label and not request.label.isprintable()):
            raise invalid_field("label", f"A label has at most {MAX_LABEL_BYTES} bytes and no control characters.")
        if request.tenant_id:
            check_name("tenant_id", request.tenant_id)
        made = await self._parts.keys.create(request.role, request.tenant_id, request.label)
        whose = f" for tenant {request.tenant_id}" if request.tenant_id else ""
        deeds.tell("Key %d of role %s was made%s", made.key_id, ROLE_NAMES[request.role], whose)
        return pb.CreateKeyResponse(key=made.key, key_id=made.key_id)

    async def ListKeys(self, request: pb.ListKeysRequest, context: Any) -> pb.ListKeysResponse:
        size = page_size(request.page_size, 100, 1000)
        if request.tenant_id:
            check_name("tenant_id", request.tenant_id)
        scope = f"ListKeys {request.tenant_id}"
        after = tokens.read(scope, request.page_token, 1, "page token")[0] if request.page_token else 0
        keys = await self._parts.keys.page(after, request.tenant_id, size)
        token = tokens.make(scope, keys[-1].id) if len(keys) == size else ""
        return pb.ListKeysResponse(keys=[_key(key) for key in keys], next_page_token=token)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any) -> pb.RevokeKeyResponse:
        await self._parts.keys.revoke(request.key_id)
        deeds.tell("Key %d was revoked", request.key_id)
        return pb.RevokeKeyResponse()


def _checked(tenant: pb.Tenant) -> tuple[str, float | None]:
    """Its name and weight; None where none is set."""
    check_name("tenant.tenant_id", tenant.tenant_id)
    weight = tenant.weight if tenant.HasField("weight") else None
    if weight is not None and not LEAST_WEIGHT <= weight <= MOST_WEIGHT:  # NaN is neither
        raise invalid_field("tenant.weight", f"A weight must be from {LEAST_WEIGHT} to {MOST_WEIGHT:,}.")
    return tenant.tenant_id, weight


def _tenant(tenant: Tenant) -> pb.Tenant:
    message = pb.Tenant(tenant_id=tenant.name, plan=tenant.plan, weight=tenant.weight)
    message.create_time.FromDatetime(tenant.created_at)
    return message


def _key(key: ListedKey) -> pb.Key:
    message = pb.Key(key_id=key.id, role=pb.Role.ValueType(key.role), tenant_id=key.tenant_id or "", label=key.label)
    message.create_time.FromDatetime(key.created_at)
    if key.revoked_at is not None:
        message.revoke_time.FromDatetime(key.revoked_at)
    return message


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
