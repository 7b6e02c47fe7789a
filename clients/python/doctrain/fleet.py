"""What operators call, with a key of role operator: workers, queue, tenants, plans, keys, usage and the audit log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from datetime import date, datetime, timedelta

from doctrain import requests, words
from doctrain.endpoints import Endpoints
from doctrain.paging import listed
from doctrain.v1 import fleet_pb2, training_pb2, usage_pb2


class AsyncFleet:
    """The fleet's side of an ``AsyncClient``, as ``client.fleet``. Every call ends within ``call_seconds``."""

    def __init__(self, endpoints: Endpoints, *, call_seconds: float) -> None:
        self._endpoints = endpoints
        self._seconds = call_seconds

    async def list_workers(self) -> fleet_pb2.ListWorkersResponse:
        """The workers in session; ``registry_answered`` is False when their loads are missing."""
        request = fleet_pb2.ListWorkersRequest()
        return await self._endpoints.call("list the workers", lambda e: e.fleet.ListWorkers, request, seconds=self._seconds)

    async def cordon_worker(self, worker_id: str, *, reason: str = "") -> None:
        """Keeps a worker from new shards, over its boots; those that it has go on. Raises WorkerNotFoundError."""
        request = requests.made(fleet_pb2.CordonWorkerRequest, worker_id=worker_id, reason=reason)
        await self._endpoints.call("cordon the worker", lambda e: e.fleet.CordonWorker, request, seconds=self._seconds)

    async def uncordon_worker(self, worker_id: str) -> None:
        """Lets a worker take shards again, if it is well. Raises WorkerNotFoundError."""
        request = requests.made(fleet_pb2.UncordonWorkerRequest, worker_id=worker_id)
        await self._endpoints.call("uncordon the worker", lambda e: e.fleet.UncordonWorker, request, seconds=self._seconds)

    async def drain_worker(self, worker_id: str, *, reason: str = "", within_seconds: float | None = None) -> None:
        """Keeps a worker from new shards and has it hand back those that it has, over its boots.

        What runs may end within that time; None: the service's own. Raises WorkerNotFoundError.
        """
        request = requests.made(fleet_pb2.DrainWorkerRequest, worker_id=worker_id, reason=reason)
        if within_seconds is not None:
            request.within.FromTimedelta(timedelta(seconds=within_seconds))
        await self._endpoints.call("drain the worker", lambda e: e.fleet.DrainWorker, request, seconds=self._seconds)

    async def get_queue(self) -> fleet_pb2.GetQueueResponse:
        """How much work waits and runs, in all and by tenant."""
        request = fleet_pb2.GetQueueRequest()
        return await self._endpoints.call("read the queue", lambda e: e.fleet.GetQueue, request, seconds=self._seconds)

    async def get_concurrency(self, *, decisions: int = 0) -> fleet_pb2.GetConcurrencyResponse:
        """How many documents at once each plan's tenants may have now, the orders of that, and so many of the newest decisions (0: 50)."""
        request = requests.made(fleet_pb2.GetConcurrencyRequest, limit=decisions)
        return await self._endpoints.call("read the limits", lambda e: e.fleet.GetConcurrency, request, seconds=self._seconds)

    async def pin_concurrency(self, slots: int, *, plan: str = "", tenant_id: str = "", reason: str = "") -> None:
        """Lets each tenant of a plan, or one tenant, have exactly so many documents at once; in place of any order before.

        Raises PlanNotFoundError, TenantNotFoundError.
        """
        await self._order(fleet_pb2.CONCURRENCY_ORDER_KIND_PIN, slots, plan, tenant_id, reason)

    async def cap_concurrency(self, slots: int, *, plan: str = "", tenant_id: str = "", reason: str = "") -> None:
        """Caps a plan or a tenant at so many documents at once."""
        await self._order(fleet_pb2.CONCURRENCY_ORDER_KIND_CAP, slots, plan, tenant_id, reason)

    async def clear_concurrency(self, *, plan: str = "", tenant_id: str = "") -> None:
        """Ends the order of a plan or a tenant; safe to repeat. Raises PlanNotFoundError, TenantNotFoundError."""
        request = fleet_pb2.ClearConcurrencyRequest(subject=requests.concurrency_subject(plan, tenant_id))
        await self._endpoints.call("end the order", lambda e: e.fleet.ClearConcurrency, request, seconds=self._seconds)

    async def _order(self, kind: fleet_pb2.ConcurrencyOrderKind.ValueType, slots: int, plan: str, tenant_id: str, reason: str) -> None:
        subject = requests.concurrency_subject(plan, tenant_id)
        request = requests.made(fleet_pb2.SetConcurrencyRequest, subject=subject, kind=kind, slots=slots, reason=reason)
        await self._endpoints.call("order the limit", lambda e: e.fleet.SetConcurrency, request, seconds=self._seconds)

    def list_all_trainings(
        self, states: Iterable[training_pb2.TrainingState.ValueType | str] | str = (), *, page_size: int = 0
    ) -> AsyncGenerator[fleet_pb2.TenantTraining, None]:
        """The trainings of all tenants, newest first, all or those in ``states``; as ``AsyncClient.list_trainings`` of one."""
        chosen = words.values(training_pb2.TrainingState, "TRAINING_STATE_", states)
        request, operation = requests.made(fleet_pb2.ListAllTrainingsRequest, states=chosen, page_size=page_size), "list all trainings"
        return listed(
            self._endpoints, operation, lambda e: e.fleet.ListAllTrainings, request, lambda page: page.trainings, seconds=self._seconds
        )

    async def list_dead_letters(self, *, limit: int = 0) -> list[fleet_pb2.DeadLetter]:
        """The newest messages that the broker put aside (0: 50 at most), the newest first, with what became of their work."""
        request = requests.made(fleet_pb2.ListDeadLettersRequest, limit=limit)
        answer = await self._endpoints.call("list the dead letters", lambda e: e.fleet.ListDeadLetters, request, seconds=self._seconds)
        return list(answer.dead_letters)

    async def create_tenant(self, tenant_id: str, *, plan: str, weight: float = 1.0) -> fleet_pb2.Tenant:
        """Makes a tenant; safe to repeat with the same plan and weight."""
        tenant = requests.made(fleet_pb2.Tenant, tenant_id=tenant_id, plan=plan, weight=weight)
        request = fleet_pb2.CreateTenantRequest(tenant=tenant)
        answer = await self._endpoints.call("make the tenant", lambda e: e.fleet.CreateTenant, request, seconds=self._seconds)
        return answer.tenant

    async def update_tenant(self, tenant_id: str, *, plan: str | None = None, weight: float | None = None) -> fleet_pb2.Tenant:
        """Gives a tenant this plan, this weight or both, for waiting work too; None: as it is."""
        tenant = requests.made(fleet_pb2.Tenant, tenant_id=tenant_id, plan=plan or "", weight=weight)
        request = fleet_pb2.UpdateTenantRequest(tenant=tenant)
        answer = await self._endpoints.call("change the tenant", lambda e: e.fleet.UpdateTenant, request, seconds=self._seconds)
        return answer.tenant

    async def suspend_tenant(self, tenant_id: str, *, reason: str = "") -> fleet_pb2.Tenant:
        """Stops a tenant's service: new work and searches are refused with the ``reason``, what runs is paused. Safe to repeat."""
        request = requests.made(fleet_pb2.SuspendTenantRequest, tenant_id=tenant_id, reason=reason)
        answer = await self._endpoints.call("suspend the tenant", lambda e: e.fleet.SuspendTenant, request, seconds=self._seconds)
        return answer.tenant

    async def resume_tenant(self, tenant_id: str) -> fleet_pb2.Tenant:
        """Undoes ``suspend_tenant``; safe to repeat. Raises TenantSuspendedError for one that is being deleted."""
        request = requests.made(fleet_pb2.ResumeTenantRequest, tenant_id=tenant_id)
        answer = await self._endpoints.call("resume the tenant", lambda e: e.fleet.ResumeTenant, request, seconds=self._seconds)
        return answer.tenant

    async def delete_tenant(self, tenant_id: str) -> fleet_pb2.Tenant:
        """Deletes a tenant and all that it has, for good: it is out of service at once, and removed in the background.

        Safe to repeat until ``list_tenants`` shows it no more; then raises TenantNotFoundError.
        """
        request = requests.made(fleet_pb2.DeleteTenantRequest, tenant_id=tenant_id)
        answer = await self._endpoints.call("delete the tenant", lambda e: e.fleet.DeleteTenant, request, seconds=self._seconds)
        return answer.tenant

    async def get_tenant_usage(
        self, tenant_id: str, *, first_day: date | None = None, last_day: date | None = None
    ) -> list[usage_pb2.UsageDay]:
        """What a tenant used, by day of UTC; without days: of this month. Raises TenantNotFoundError."""
        request = requests.made(fleet_pb2.GetTenantUsageRequest, tenant_id=tenant_id, period=requests.period(first_day, last_day))
        answer = await self._endpoints.call("read the usage", lambda e: e.fleet.GetTenantUsage, request, seconds=self._seconds)
        return list(answer.days)

    def list_audit_log(self, *, tenant_id: str = "", page_size: int = 0) -> AsyncGenerator[fleet_pb2.AuditEntry, None]:
        """What operators and tenants changed, the newest first; of one tenant or of all."""
        request, operation = requests.made(fleet_pb2.ListAuditLogRequest, tenant_id=tenant_id, page_size=page_size), "read the audit log"
        return listed(self._endpoints, operation, lambda e: e.fleet.ListAuditLog, request, lambda page: page.entries, seconds=self._seconds)

    def list_tenants(self) -> AsyncGenerator[fleet_pb2.Tenant, None]:
        """All tenants by name, page after page."""
        request, operation = fleet_pb2.ListTenantsRequest(), "list the tenants"
        return listed(self._endpoints, operation, lambda e: e.fleet.ListTenants, request, lambda page: page.tenants, seconds=self._seconds)

    async def put_plan(
        self,
        name: str,
        *,
        slots: int,
        burst_slots: int = 0,
        open_trainings: int = 1_000,
        training_documents: int = 0,
        open_documents: int = 0,
        requests_per_second: float = 0.0,
        watches: int = 0,
        upload_bytes: int = 0,
    ) -> fleet_pb2.Plan:
        """Makes a plan, or puts it in the place of the one of that name; ``Plan`` says what each limit means, and 0 is none.

        Without ``burst_slots`` its tenants never have more than ``slots``.
        """
        plan = requests.made(
            fleet_pb2.Plan,
            name=name,
            slots=slots,
            burst_slots=burst_slots,
            open_trainings=open_trainings,
            training_documents=training_documents,
            open_documents=open_documents,
            requests_per_second=requests_per_second,
            watches=watches,
            upload_bytes=upload_bytes,
        )
        request = fleet_pb2.PutPlanRequest(plan=plan)
        answer = await self._endpoints.call("put the plan", lambda e: e.fleet.PutPlan, request, seconds=self._seconds)
        return answer.plan

    async def update_plan(
        self,
        name: str,
        *,
        slots: int | None = None,
        burst_slots: int | None = None,
        open_trainings: int | None = None,
        training_documents: int | None = None,
        open_documents: int | None = None,
        requests_per_second: float | None = None,
        watches: int | None = None,
        upload_bytes: int | None = None,
    ) -> fleet_pb2.Plan:
        """Changes these limits of a plan, for waiting work too; None: as it is, whoever else changes it meanwhile.

        A plan that does not burst does not when its ``slots`` change. Raises PlanNotFoundError.
        """
        request = requests.made(
            fleet_pb2.UpdatePlanRequest,
            name=name,
            slots=slots,
            burst_slots=burst_slots,
            open_trainings=open_trainings,
            training_documents=training_documents,
            open_documents=open_documents,
            requests_per_second=requests_per_second,
            watches=watches,
            upload_bytes=upload_bytes,
        )
        answer = await self._endpoints.call("change the plan", lambda e: e.fleet.UpdatePlan, request, seconds=self._seconds)
        return answer.plan

    async def delete_plan(self, name: str) -> None:
        """Removes a plan that no tenant has. Raises PlanNotFoundError, PlanInUseError."""
        request = requests.made(fleet_pb2.DeletePlanRequest, name=name)
        await self._endpoints.call("delete the plan", lambda e: e.fleet.DeletePlan, request, seconds=self._seconds)

    async def list_plans(self) -> list[fleet_pb2.Plan]:
        """All plans by name."""
        request = fleet_pb2.ListPlansRequest()
        answer = await self._endpoints.call("list the plans", lambda e: e.fleet.ListPlans, request, seconds=self._seconds)
        return list(answer.plans)

    async def create_key(
        self,
        role: fleet_pb2.Role.ValueType | str,
        *,
        tenant_id: str = "",
        label: str = "",
        lifetime: timedelta | None = None,
        expire_time: datetime | None = None,
    ) -> fleet_pb2.CreateKeyResponse:
        """Makes an API key and returns it, this once. Every call makes another key, so it is retried only where nothing was sent.

        ``role`` is ``tenant``, ``worker`` or ``operator``, or a value of ``Role``. The key is in force for its ``lifetime``, until its
        ``expire_time`` (without a zone: of UTC), or until it is revoked; only one of the two may be given.
        """
        request = requests.key(role, tenant_id, label, lifetime=lifetime, expire_time=expire_time)
        return await self._endpoints.call("make a key", lambda e: e.fleet.CreateKey, request, seconds=self._seconds, repeatable=False)

    def list_keys(self, *, tenant_id: str = "", page_size: int = 0) -> AsyncGenerator[fleet_pb2.Key, None]:
        """All keys, or those of one tenant, the oldest first, revoked ones included; never the keys themselves."""
        request = requests.made(fleet_pb2.ListKeysRequest, tenant_id=tenant_id, page_size=page_size)
        return listed(self._endpoints, "list the keys", lambda e: e.fleet.ListKeys, request, lambda page: page.keys, seconds=self._seconds)

    async def revoke_key(self, key_id: int) -> None:
        """Takes a key out of force within seconds; safe to repeat. Raises KeyNotFoundError, LastOperatorKeyError."""
        request = requests.made(fleet_pb2.RevokeKeyRequest, key_id=key_id)
        await self._endpoints.call("revoke the key", lambda e: e.fleet.RevokeKey, request, seconds=self._seconds)
