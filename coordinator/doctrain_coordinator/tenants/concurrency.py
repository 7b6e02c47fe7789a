"""How many documents at once plans and tenants may have: what operators order of it, and how it stands.

An order is a row that the view ``tenant_limit`` takes in, so it holds from its commit on for every grant, of whichever leader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.tenants.audit import Deed
from doctrain_mesh import postgres
from doctrain_mesh.errors import PlanNotFoundError, TenantNotFoundError
from doctrain_mesh.postgres import Connection, Pool, Record, statements

SQL = statements.of(__name__)
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an order is for: the tenants of a plan, or one tenant, by name; the other is empty."""

    plan: str = ""
    tenant: str = ""

    def __str__(self) -> str:
        return f"plan {self.plan}" if self.plan else f"tenant {self.tenant}"


@dataclass(frozen=True, slots=True)
class ConcurrencyOrder:
    """An order that a plan or a tenant has exactly (``pins``), or at most, so many documents at once. ``ordered_by`` is a key's number."""

    subject: Subject
    pins: bool
    slots: int
    reason: str
    ordered_by: int
    ordered_at: datetime


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The limits of each tenant of a plan, in documents at once: always, at most, as the leader allows, and with the order that stands."""

    name: str
    slots: int
    burst_slots: int
    allowed: int
    order: ConcurrencyOrder | None
    current: int


@dataclass(frozen=True, slots=True)
class PastDecision:
    """What the leader made of a plan's ``allowed``."""

    decided_at: datetime
    plan: str
    slots_before: int
    slots_after: int
    reason: str


@dataclass(frozen=True, slots=True)
class AllLimits:
    """All limits, and the newest decisions first."""

    plans: Sequence[PlanLimits]
    tenant_orders: Sequence[ConcurrencyOrder]
    decisions: Sequence[PastDecision]


class Concurrency:
    """Every method raises StoreUnavailableError; those with a subject raise PlanNotFoundError, TenantNotFoundError."""

    def __init__(self, pool: Pool, changes: Changes) -> None:
        self._pool, self._changes = pool, changes

    async def standing(self, decisions: int) -> AllLimits:
        """How it stands, with so many decisions."""
        async with postgres.acquired(self._pool, "reading the limits on concurrency", seconds=SECONDS) as c:
            plans = [_plan(row) for row in await c.fetch(SQL["plans"])]
            orders = [_order(Subject(tenant=row["name"]), row) for row in await c.fetch(SQL["tenant_orders"])]
            newest = [PastDecision(**row) for row in await c.fetch(SQL["decisions"], decisions)]
        return AllLimits(plans, orders, newest)

    async def order(self, subject: Subject, slots: int, *, pins: bool, reason: str, deed: Deed) -> None:
        """Gives the order, in place of any before."""
        async with postgres.acquired(self._pool, "ordering a limit on concurrency", seconds=SECONDS) as c, c.transaction():
            key = await _key(c, subject)
            await c.execute(SQL["order_plan" if subject.plan else "order_tenant"], key, pins, slots, reason, deed.caller.key_id)
            how = "pinned to" if pins else "capped at"
            await deed.write(c, f"The concurrency of {subject} was {how} {slots}{f': {reason}' if reason else ''}")
        self._changes.work()

    async def clear(self, subject: Subject, *, deed: Deed) -> None:
        """Ends the order, if there is one."""
        async with postgres.acquired(self._pool, "ending a limit on concurrency", seconds=SECONDS) as c, c.transaction():
            key = await _key(c, subject)
            await c.execute(SQL["clear_plan" if subject.plan else "clear_tenant"], key)
            await deed.write(c, f"The concurrency of {subject} is as its plan and the machines allow again")
        self._changes.work()


async def _key(c: Connection, subject: Subject) -> str | int:
    if subject.plan:
        if await c.fetchval(SQL["plan"], subject.plan) is None:
            raise PlanNotFoundError(f"There is no plan {subject.plan!r}.")
        return subject.plan
    tenant: int | None = await c.fetchval(SQL["tenant"], subject.tenant)
    if tenant is None:
        raise TenantNotFoundError(f"There is no tenant {subject.tenant!r}.")
    return tenant


def _plan(row: Record) -> PlanLimits:
    order = None if row["pins"] is None else _order(Subject(plan=row["name"]), row)
    return PlanLimits(row["name"], row["slots"], row["burst_slots"], row["allowed"], order, row["current"])


def _order(subject: Subject, row: Record) -> ConcurrencyOrder:
    return ConcurrencyOrder(subject, row["pins"], row["ordered"], row["reason"], row["ordered_by"], row["ordered_at"])
