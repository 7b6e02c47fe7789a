"""FleetService, of tenants, plans and keys: what operators set, and who set what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from doctrain.v1 import fleet_pb2 as pb
from doctrain.v1 import fleet_pb2_grpc
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.rpc import deeds, plan_requests, tokens, usage
from doctrain_coordinator.rpc.violations import check_name, check_reason, page_size
from doctrain_coordinator.tenants import audit
from doctrain_coordinator.tenants.audit import Entry
from doctrain_coordinator.tenants.keys import Keys, ListedKey
from doctrain_coordinator.tenants.provisioning import Tenant, Tenants
from doctrain_coordinator.tenants.usage import Usage
from doctrain_coordinator.trainings.suspending import Suspensions
from doctrain_mesh.errors import invalid_field
from doctrain_mesh.postgres import Pool

LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1_000
DEFAULT_WEIGHT = 1.0
MAX_LABEL_BYTES = 128
LONGEST_LIFETIME_SECONDS = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class TenantParts:
    """What the calls need."""

    pool: Pool
    tenants: Tenants
    keys: Keys
    suspensions: Suspensions
    usage: Usage
    changes: Changes


class TenantCalls(fleet_pb2_grpc.FleetServiceServicer):
    """The part of FleetService that is about tenants."""

    def __init__(self, parts: TenantParts) -> None:
        self._of = parts

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Any) -> pb.CreateTenantResponse:
        name, weight = _checked(request.tenant)
        check_name("tenant.plan", request.tenant.plan)
        with deeds.deed(f"tenant {name}", tenant_id=name) as deed:
            tenant = await self._of.tenants.create(name, request.tenant.plan, weight or DEFAULT_WEIGHT, deed=deed)
        return pb.CreateTenantResponse(tenant=_tenant(tenant))

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: Any) -> pb.UpdateTenantResponse:
        name, weight = _checked(request.tenant)
        if request.tenant.plan:
            check_name("tenant.plan", request.tenant.plan)
        with deeds.deed(f"tenant {name}", tenant_id=name) as deed:
            tenant = await self._of.tenants.update(name, request.tenant.plan or None, weight, deed=deed)
        self._changed()
        return pb.UpdateTenantResponse(tenant=_tenant(tenant))

    async def SuspendTenant(self, request: pb.SuspendTenantRequest, context: Any) -> pb.SuspendTenantResponse:
        check_name("tenant_id", request.tenant_id)
        check_reason(request.reason)
        with deeds.deed(f"tenant {request.tenant_id}", tenant_id=request.tenant_id) as deed:
            tenant = await self._of.tenants.suspend(request.tenant_id, request.reason.rstrip(". "), deed=deed)
        self._changed()
        self._of.suspensions.poke()
        return pb.SuspendTenantResponse(tenant=_tenant(tenant))

    async def ResumeTenant(self, request: pb.ResumeTenantRequest, context: Any) -> pb.ResumeTenantResponse:
        check_name("tenant_id", request.tenant_id)
        with deeds.deed(f"tenant {request.tenant_id}", tenant_id=request.tenant_id) as deed:
            tenant = await self._of.tenants.resume(request.tenant_id, deed=deed)
        self._changed()
        self._of.suspensions.poke()
        return pb.ResumeTenantResponse(tenant=_tenant(tenant))

    async def DeleteTenant(self, request: pb.DeleteTenantRequest, context: Any) -> pb.DeleteTenantResponse:
        check_name("tenant_id", request.tenant_id)
        with deeds.deed(f"tenant {request.tenant_id}", tenant_id=request.tenant_id) as deed:
            tenant = await self._of.tenants.delete(request.tenant_id, deed=deed)
        self._changed()
        return pb.DeleteTenantResponse(tenant=_tenant(tenant))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Any) -> pb.ListTenantsResponse:
        size = page_size(request.page_size, 100, 1000)
        after = tokens.page("ListTenants", request.page_token, 0)
        tenants = await self._of.tenants.page(after, size)
        token = tokens.make("ListTenants", tenants[-1].id) if len(tenants) == size else ""
        return pb.ListTenantsResponse(tenants=[_tenant(tenant) for tenant in tenants], next_page_token=token)

    async def PutPlan(self, request: pb.PutPlanRequest, context: Any) -> pb.PutPlanResponse:
        plan = plan_requests.put(request.plan)
        with deeds.deed(f"plan {plan.name}") as deed:
            await self._of.tenants.put_plan(plan, deed=deed)
        self._changed()
        return pb.PutPlanResponse(plan=plan_requests.message(plan))

    async def UpdatePlan(self, request: pb.UpdatePlanRequest, context: Any) -> pb.UpdatePlanResponse:
        check_name("name", request.name)
        with deeds.deed(f"plan {request.name}") as deed:
            plan = await self._of.tenants.update_plan(request.name, lambda before: plan_requests.updated(before, request), deed=deed)
        self._changed()
        return pb.UpdatePlanResponse(plan=plan_requests.message(plan))

    async def DeletePlan(self, request: pb.DeletePlanRequest, context: Any) -> pb.DeletePlanResponse:
        check_name("name", request.name)
        with deeds.deed(f"plan {request.name}") as deed:
            await self._of.tenants.delete_plan(request.name, deed=deed)
        return pb.DeletePlanResponse()

    async def ListPlans(self, request: pb.ListPlansRequest, context: Any) -> pb.ListPlansResponse:
        return pb.ListPlansResponse(plans=[plan_requests.message(plan) for plan in await self._of.tenants.plans()])

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Any) -> pb.CreateKeyResponse:
        if request.role not in (pb.ROLE_TENANT, pb.ROLE_WORKER, pb.ROLE_OPERATOR):
            raise invalid_field("role", "A key needs a role: tenant, worker or operator.")
        if len(request.label.encode()) > MAX_LABEL_BYTES or not request.label.isprintable():
            raise invalid_field("label", f"A label has at most {MAX_LABEL_BYTES} bytes, all of which can be shown.")
        if request.tenant_id:
            check_name("tenant_id", request.tenant_id)
        lifetime, until = _expiry(request)
        with deeds.deed("key", tenant_id=request.tenant_id) as deed:
            made = await self._of.keys.create(
                request.role, request.tenant_id, request.label, lifetime_seconds=lifetime, expires_at=until, deed=deed
            )
        response = pb.CreateKeyResponse(key=made.key, key_id=made.key_id)
        if made.expires_at is not None:
            response.expire_time.FromDatetime(made.expires_at)
        return response

    async def ListKeys(self, request: pb.ListKeysRequest, context: Any) -> pb.ListKeysResponse:
        size = page_size(request.page_size, 100, 1000)
        if request.tenant_id:
            check_name("tenant_id", request.tenant_id)
        scope = f"ListKeys {request.tenant_id}"
        after = tokens.page(scope, request.page_token, 0)
        keys = await self._of.keys.page(after, request.tenant_id, size)
        token = tokens.make(scope, keys[-1].id) if len(keys) == size else ""
        return pb.ListKeysResponse(keys=[_key(key) for key in keys], next_page_token=token)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any) -> pb.RevokeKeyResponse:
        with deeds.deed(f"key {request.key_id}") as deed:
            await self._of.keys.revoke(request.key_id, deed=deed)
        return pb.RevokeKeyResponse()

    async def GetTenantUsage(self, request: pb.GetTenantUsageRequest, context: Any) -> pb.GetTenantUsageResponse:
        check_name("tenant_id", request.tenant_id)
        first, last = usage.days(request.period, datetime.now(UTC).date())
        tenant = await self._of.tenants.find(request.tenant_id)
        return pb.GetTenantUsageResponse(days=usage.messages(await self._of.usage.read(tenant.id, first, last)))

    async def ListAuditLog(self, request: pb.ListAuditLogRequest, context: Any) -> pb.ListAuditLogResponse:
        size = page_size(request.page_size, 100, 1000)
        if request.tenant_id:
            check_name("tenant_id", request.tenant_id)
        scope = f"ListAuditLog {request.tenant_id}"
        before = tokens.page(scope, request.page_token, tokens.MOST)
        entries = await audit.page(self._of.pool, before, request.tenant_id, size)
        token = tokens.make(scope, entries[-1].id) if len(entries) == size else ""
        return pb.ListAuditLogResponse(entries=[_entry(entry) for entry in entries], next_page_token=token)

    def _changed(self) -> None:
        self._of.keys.forget()
        self._of.changes.work()


def _checked(tenant: pb.Tenant) -> tuple[str, float | None]:
    """Its name and weight; None where none is set."""
    check_name("tenant.tenant_id", tenant.tenant_id)
    weight = tenant.weight if tenant.HasField("weight") else None
    if weight is not None and not LEAST_WEIGHT <= weight <= MOST_WEIGHT:  # NaN is neither
        raise invalid_field("tenant.weight", f"A weight must be from {LEAST_WEIGHT} to {MOST_WEIGHT:,}.")
    return tenant.tenant_id, weight


def _expiry(request: pb.CreateKeyRequest) -> tuple[float | None, datetime | None]:
    """How many seconds a key is in force, or until when; both None for one without end."""
    match request.WhichOneof("expiry"):
        case "lifetime":
            seconds = request.lifetime.seconds + request.lifetime.nanos / 1e9
            if not 1 <= seconds <= LONGEST_LIFETIME_SECONDS:
                raise invalid_field("lifetime", "A key is in force for a second to ten years; without a limit, leave it out.")
            return seconds, None
        case "expire_time":
            try:
                until = request.expire_time.ToDatetime(tzinfo=UTC)
            except (ValueError, OverflowError) as error:
                raise invalid_field("expire_time", "There is no such time.") from error
            if (until - datetime.now(UTC)).total_seconds() > LONGEST_LIFETIME_SECONDS:
                raise invalid_field("expire_time", "A key is in force for ten years at most; without a limit, leave it out.")
            return None, until
        case _:
            return None, None


def _tenant(tenant: Tenant) -> pb.Tenant:
    message = pb.Tenant(tenant_id=tenant.name, plan=tenant.plan, weight=tenant.weight, suspend_reason=tenant.suspend_reason)
    message.create_time.FromDatetime(tenant.created_at)
    message.state = pb.TENANT_STATE_ACTIVE
    if tenant.suspended_at is not None:
        message.suspend_time.FromDatetime(tenant.suspended_at)
        message.state = pb.TENANT_STATE_DELETING if tenant.deleting else pb.TENANT_STATE_SUSPENDED
    return message


def _key(key: ListedKey) -> pb.Key:
    message = pb.Key(key_id=key.id, role=pb.Role.ValueType(key.role), tenant_id=key.tenant_id or "", label=key.label)
    message.create_time.FromDatetime(key.created_at)
    if key.expires_at is not None:
        message.expire_time.FromDatetime(key.expires_at)
    if key.revoked_at is not None:
        message.revoke_time.FromDatetime(key.revoked_at)
    return message


def _entry(entry: Entry) -> pb.AuditEntry:
    message = pb.AuditEntry(
        role=pb.Role.ValueType(entry.role),
        key_id=entry.key,
        tenant_id=entry.tenant,
        call=entry.call,
        subject=entry.subject,
        outcome=entry.outcome,
        sentence=entry.sentence,
        trace_id=entry.trace_id,
    )
    message.time.FromDatetime(entry.happened_at)
    return message
