"""Tenants and plans, as operators make them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.tenants.audit import Deed
from doctrain_mesh import postgres
from doctrain_mesh.errors import (
    AlreadyExistsError,
    InvalidResumePositionError,
    PlanInUseError,
    PlanNotFoundError,
    TenantNotFoundError,
    TenantSuspendedError,
)
from doctrain_mesh.postgres import Connection, Pool, Record, statements

SQL = statements.of(__name__)
SECONDS = 10.0
_FURTHER = {
    "training_documents": "documents a training",
    "open_documents": "open documents",
    "requests_per_second": "requests a second",
    "watches": "watches",
    "upload_bytes": "bytes of uploads",
}
"""Limits of a plan that may be none."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant.

    Args:
        weight: the more, the more of the lanes it is given where there are too few.
        suspended_at: since when it has not been served; None while it is.
        suspend_reason: the operator's words.
        deleting: it is being removed, until it is gone.
    """

    id: int
    name: str
    plan: str
    weight: float
    created_at: datetime
    suspended_at: datetime | None
    suspend_reason: str
    deleting: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tenant of it may have; 0: no limit.

    Args:
        slots: documents at once, for sure.
        burst_slots: documents at once while the machines bear it; no fewer.
        open_trainings: trainings that have not ended.
        training_documents: documents of one training.
        open_documents: documents that have not ended.
        requests_per_second: calls at each coordinator.
        watches: streams at once at each coordinator.
        upload_bytes: that are kept.
    """

    name: str
    slots: int
    burst_slots: int
    open_trainings: int
    training_documents: int = 0
    open_documents: int = 0
    requests_per_second: float = 0.0
    watches: int = 0
    upload_bytes: int = 0


class Tenants:
    """Every change holds at once, for work that waits too: limits are read at each grant. Each writes its ``deed`` with it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, name: str, plan: str, weight: float, *, deed: Deed | None = None) -> Tenant:
        """Makes a tenant or finds the same one; raises PlanNotFoundError, AlreadyExistsError."""
        async with postgres.acquired(self._pool, "making a tenant", seconds=SECONDS) as c, c.transaction():
            await _require_plan(c, plan)
            made = await c.fetchval(SQL["create_tenant"], name, plan, weight)
            tenant = await _find(c, name)
            if made is not None and deed is not None:
                await deed.write(c, f"Tenant {name} was made, of plan {plan} and weight {weight:g}")
        if tenant.deleting:
            raise AlreadyExistsError(f"A tenant {name!r} is being deleted; make it again when it is gone, or choose another name.")
        if (tenant.plan, tenant.weight) != (plan, weight):
            raise AlreadyExistsError(f"The tenant {name!r} exists with another plan or weight; update it instead.")
        return tenant

    async def update(self, name: str, plan: str | None, weight: float | None, *, deed: Deed) -> Tenant:
        """Moves a tenant; None: as it is. Raises PlanNotFoundError, TenantNotFoundError."""
        async with postgres.acquired(self._pool, "changing a tenant", seconds=SECONDS) as c, c.transaction():
            if plan is not None:
                await _require_plan(c, plan)
            tenant = await _changed(c, name, "update_tenant", plan, weight)
            await deed.write(c, f"Tenant {name} was changed to plan {tenant.plan} and weight {tenant.weight:g}")
        return tenant

    async def suspend(self, name: str, reason: str, *, deed: Deed) -> Tenant:
        """Marks that it is not served; who runs its work finds it out. Raises TenantNotFoundError."""
        async with postgres.acquired(self._pool, "suspending a tenant", seconds=SECONDS) as c, c.transaction():
            tenant = await _changed(c, name, "suspend_tenant", reason)
            await deed.write(c, f"Tenant {name} was suspended{f': {reason}' if reason else ''}")
        return tenant

    async def resume(self, name: str, *, deed: Deed) -> Tenant:
        """Marks that it is served; raises TenantNotFoundError, TenantSuspendedError for one that is being deleted."""
        async with postgres.acquired(self._pool, "resuming a tenant", seconds=SECONDS) as c, c.transaction():
            before = await _find(c, name, lock=True)
            if before.deleting:
                raise TenantSuspendedError(f"The tenant {name!r} is being deleted, which cannot be undone.")
            tenant = await _changed(c, name, "resume_tenant")
            if before.suspended_at is not None:
                await deed.write(c, f"Tenant {name} was resumed")
        return tenant

    async def delete(self, name: str, *, deed: Deed) -> Tenant:
        """Marks that it is to be removed, and takes its keys out of force. Raises TenantNotFoundError."""
        async with postgres.acquired(self._pool, "deleting a tenant", seconds=SECONDS) as c, c.transaction():
            before = await _find(c, name, lock=True)
            tenant = await _changed(c, name, "delete_tenant")
            await c.execute(SQL["revoke_keys"], tenant.id)
            if not before.deleting:
                await deed.write(c, f"Tenant {name} is being deleted")
        return tenant

    async def find(self, name: str) -> Tenant:
        """The tenant of that name; raises TenantNotFoundError."""
        async with postgres.acquired(self._pool, "looking a tenant up", seconds=SECONDS) as c:
            return await _find(c, name)

    async def page(self, after: int, size: int) -> list[Tenant]:
        """Tenants by name, those after the tenant with the id ``after``; 0: from the first on.

        Raises InvalidResumePositionError when that one is gone, since then nobody knows which come after it.
        """
        async with postgres.acquired(self._pool, "listing tenants", seconds=SECONDS) as c:
            if after and not await c.fetchval(SQL["is_there"], after):
                raise InvalidResumePositionError("The last tenant of the page before was deleted meanwhile; list from the first page on.")
            return [Tenant(**row) for row in await c.fetch(SQL["tenants"], after, size)]

    async def put_plan(self, plan: Plan, *, deed: Deed) -> None:
        """Makes or changes a plan."""
        async with postgres.acquired(self._pool, "changing a plan", seconds=SECONDS) as c, c.transaction():
            await c.execute(SQL["put_plan"], *dataclasses.astuple(plan))
            await deed.write(c, f"Plan {plan.name} was set to {_limits(plan)}")

    async def update_plan(self, name: str, changed: Callable[[Plan], Plan], *, deed: Deed) -> Plan:
        """Makes of a plan what ``changed`` makes of it, while nobody else changes it; raises PlanNotFoundError, and what that raises."""
        async with postgres.acquired(self._pool, "changing a plan", seconds=SECONDS) as c, c.transaction():
            row = await c.fetchrow(SQL["plan_to_change"], name)
            if row is None:
                raise PlanNotFoundError(f"There is no plan {name!r}.")
            before = Plan(**row)
            plan = changed(before)
            if plan != before:
                await c.execute(SQL["put_plan"], *dataclasses.astuple(plan))
                await deed.write(c, f"Plan {name} was changed: {_differences(before, plan)}")
        return plan

    async def delete_plan(self, name: str, *, deed: Deed) -> None:
        """Removes a plan; raises PlanNotFoundError, PlanInUseError."""
        async with postgres.acquired(self._pool, "deleting a plan", seconds=SECONDS) as c, c.transaction():
            if await c.fetchval(SQL["lock_plan"], name) is None:
                raise PlanNotFoundError(f"There is no plan {name!r}.")
            tenant = await c.fetchval(SQL["tenant_of_plan"], name)
            if tenant is not None:
                raise PlanInUseError(
                    f"The plan {name!r} is that of the tenant {tenant!r}, and maybe of others; give them another one first."
                )
            await c.execute(SQL["delete_plan"], name)
            await deed.write(c, f"Plan {name} was deleted")

    async def plans(self) -> list[Plan]:
        """All plans by name."""
        async with postgres.acquired(self._pool, "listing plans", seconds=SECONDS) as c:
            return [Plan(**row) for row in await c.fetch(SQL["plans"])]


def _limits(plan: Plan) -> str:
    further = {words: getattr(plan, limit) for limit, words in _FURTHER.items()}
    named = [
        f"{plan.slots} slots" + (f" (bursts up to {plan.burst_slots})" if _bursts(plan) else ""),
        f"{plan.open_trainings} open trainings",
        *(f"{_told(most)} {what}" for what, most in further.items() if most),
    ]
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _differences(before: Plan, after: Plan) -> str:
    names = {"slots": "slots", "burst_slots": "slots in a burst", "open_trainings": "open trainings", **_FURTHER}
    if not (_bursts(before) or _bursts(after)):
        del names["burst_slots"]
    pairs = {words: (getattr(before, limit), getattr(after, limit)) for limit, words in names.items()}
    return ", ".join(f"{words} from {_told(old)} to {_told(new)}" for words, (old, new) in pairs.items() if old != new)


def _bursts(plan: Plan) -> bool:
    return plan.burst_slots > plan.slots


def _told(limit: float) -> str:
    if not limit:
        return "no limit"
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:,.10g}"


async def _require_plan(c: Connection, plan: str) -> None:
    if await c.fetchrow(SQL["plan"], plan) is None:
        raise PlanNotFoundError(f"There is no plan {plan!r}.")


async def _find(c: Connection, name: str, *, lock: bool = False) -> Tenant:
    return _tenant(name, await c.fetchrow(SQL["lock_tenant" if lock else "tenant"], name))


async def _changed(c: Connection, name: str, statement: str, *arguments: object) -> Tenant:
    before = await _find(c, name, lock=True)
    return _tenant(name, await c.fetchrow(SQL[statement], before.id, *arguments))


def _tenant(name: str, row: Record | None) -> Tenant:
    if row is None:
        raise TenantNotFoundError(f"There is no tenant {name!r}.")
    return Tenant(**row)
