"""What operators call, for programs without asyncio: the same methods, each waiting for its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

from doctrain.fleet import AsyncFleet
from doctrain.loop import BackgroundLoop
from doctrain.v1 import fleet_pb2, training_pb2, usage_pb2


class Fleet:
    """What operators call; methods are those of ``AsyncFleet``."""

    def __init__(self, fleet: AsyncFleet, loop: BackgroundLoop) -> None:
        self._fleet = fleet
        self._loop = loop

    def list_workers(self) -> fleet_pb2.ListWorkersResponse:
        """See ``AsyncFleet.list_workers``."""
        return self._loop.run(self._fleet.list_workers())

    def cordon_worker(self, worker_id: str, *, reason: str = "") -> None:
        """See ``AsyncFleet.cordon_worker``."""
        self._loop.run(self._fleet.cordon_worker(worker_id, reason=reason))

    def uncordon_worker(self, worker_id: str) -> None:
        """See ``AsyncFleet.uncordon_worker``."""
        self._loop.run(self._fleet.uncordon_worker(worker_id))

    def drain_worker(self, worker_id: str, *, reason: str = "", within_seconds: float | None = None) -> None:
        """See ``AsyncFleet.drain_worker``."""
        self._loop.run(self._fleet.drain_worker(worker_id, reason=reason, within_seconds=within_seconds))

    def get_queue(self) -> fleet_pb2.GetQueueResponse:
        """See ``AsyncFleet.get_queue``."""
        return self._loop.run(self._fleet.get_queue())

    def get_concurrency(self, *, decisions: int = 0) -> fleet_pb2.GetConcurrencyResponse:
        """See ``AsyncFleet.get_concurrency``."""
        return self._loop.run(self._fleet.get_concurrency(decisions=decisions))

    def pin_concurrency(self, slots: int, *, plan: str = "", tenant_id: str = "", reason: str = "") -> None:
        """See ``AsyncFleet.pin_concurrency``."""
        self._loop.run(self._fleet.pin_concurrency(slots, plan=plan, tenant_id=tenant_id, reason=reason))

    def cap_concurrency(self, slots: int, *, plan: str = "", tenant_id: str = "", reason: str = "") -> None:
        """See ``AsyncFleet.cap_concurrency``."""
        self._loop.run(self._fleet.cap_concurrency(slots, plan=plan, tenant_id=tenant_id, reason=reason))

    def clear_concurrency(self, *, plan: str = "", tenant_id: str = "") -> None:
        """See ``AsyncFleet.clear_concurrency``."""
        self._loop.run(self._fleet.clear_concurrency(plan=plan, tenant_id=tenant_id))

    def list_all_trainings(
        self, states: Iterable[training_pb2.TrainingState.ValueType | str] | str = (), *, page_size: int = 0
    ) -> Iterator[fleet_pb2.TenantTraining]:
        """See ``AsyncFleet.list_all_trainings``."""
        return self._loop.iterate(self._fleet.list_all_trainings(states, page_size=page_size))

    def list_dead_letters(self, *, limit: int = 0) -> list[fleet_pb2.DeadLetter]:
        """See ``AsyncFleet.list_dead_letters``."""
        return self._loop.run(self._fleet.list_dead_letters(limit=limit))

    def create_tenant(self, tenant_id: str, *, plan: str, weight: float = 1.0) -> fleet_pb2.Tenant:
        """See ``AsyncFleet.create_tenant``."""
        return self._loop.run(self._fleet.create_tenant(tenant_id, plan=plan, weight=weight))

    def update_tenant(self, tenant_id: str, *, plan: str | None = None, weight: float | None = None) -> fleet_pb2.Tenant:
        """See ``AsyncFleet.update_tenant``."""
        return self._loop.run(self._fleet.update_tenant(tenant_id, plan=plan, weight=weight))

    def list_tenants(self) -> Iterator[fleet_pb2.Tenant]:
        """See ``AsyncFleet.list_tenants``."""
        return self._loop.iterate(self._fleet.list_tenants())

    def suspend_tenant(self, tenant_id: str, *, reason: str = "") -> fleet_pb2.Tenant:
        """See ``AsyncFleet.suspend_tenant``."""
        return self._loop.run(self._fleet.suspend_tenant(tenant_id, reason=reason))

    def resume_tenant(self, tenant_id: str) -> fleet_pb2.Tenant:
        """See ``AsyncFleet.resume_tenant``."""
        return self._loop.run(self._fleet.resume_tenant(tenant_id))

    def delete_tenant(self, tenant_id: str) -> fleet_pb2.Tenant:
        """See ``AsyncFleet.delete_tenant``."""
        return self._loop.run(self._fleet.delete_tenant(tenant_id))

    def get_tenant_usage(self, tenant_id: str, *, first_day: date | None = None, last_day: date | None = None) -> list[usage_pb2.UsageDay]:
        """See ``AsyncFleet.get_tenant_usage``."""
        return self._loop.run(self._fleet.get_tenant_usage(tenant_id, first_day=first_day, last_day=last_day))

    def list_audit_log(self, *, tenant_id: str = "", page_size: int = 0) -> Iterator[fleet_pb2.AuditEntry]:
        """See ``AsyncFleet.list_audit_log``."""
        return self._loop.iterate(self._fleet.list_audit_log(tenant_id=tenant_id, page_size=page_size))

    def put_plan(
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
        """See ``AsyncFleet.put_plan``."""
        return self._loop.run(
            self._fleet.put_plan(
                name,
                slots=slots,
                burst_slots=burst_slots,
                open_trainings=open_trainings,
                training_documents=training_documents,
                open_documents=open_documents,
                requests_per_second=requests_per_second,
                watches=watches,
                upload_bytes=upload_bytes,
            )
        )

    def update_plan(
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
        """See ``AsyncFleet.update_plan``."""
        return self._loop.run(
            self._fleet.update_plan(
                name,
                slots=slots,
                burst_slots=burst_slots,
                open_trainings=open_trainings,
                training_documents=training_documents,
                open_documents=open_documents,
                requests_per_second=requests_per_second,
                watches=watches,
                upload_bytes=upload_bytes,
            )
        )

    def delete_plan(self, name: str) -> None:
        """See ``AsyncFleet.delete_plan``."""
        self._loop.run(self._fleet.delete_plan(name))

    def list_plans(self) -> list[fleet_pb2.Plan]:
        """See ``AsyncFleet.list_plans``."""
        return self._loop.run(self._fleet.list_plans())

    def create_key(
        self,
        role: fleet_pb2.Role.ValueType | str,
        *,
        tenant_id: str = "",
        label: str = "",
        lifetime: timedelta | None = None,
        expire_time: datetime | None = None,
    ) -> fleet_pb2.CreateKeyResponse:
        """See ``AsyncFleet.create_key``."""
        made = self._fleet.create_key(role, tenant_id=tenant_id, label=label, lifetime=lifetime, expire_time=expire_time)
        return self._loop.run(made)

    def list_keys(self, *, tenant_id: str = "", page_size: int = 0) -> Iterator[fleet_pb2.Key]:
        """See ``AsyncFleet.list_keys``."""
        return self._loop.iterate(self._fleet.list_keys(tenant_id=tenant_id, page_size=page_size))

    def revoke_key(self, key_id: int) -> None:
        """See ``AsyncFleet.revoke_key``."""
        self._loop.run(self._fleet.revoke_key(key_id))
