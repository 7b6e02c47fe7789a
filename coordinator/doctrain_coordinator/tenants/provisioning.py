"""Tenants and plans, as operators make them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from doctrain_mesh import postgres
from doctrain_mesh.errors import AlreadyExistsError, PlanNotFoundError, TenantNotFoundError
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__)
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; the more ``weight``, the more of the lanes it is given where there are too few."""

    id: int
    name: str
    plan: str
    weight: float
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tenant of it may have: ``slots`` documents at once, and so many trainings that have not ended."""

    name: str
    slots: int
    open_trainings: int


class Tenants:
    """Every change holds at once, for work that waits too: limits are read at each grant."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, name: str, plan: str, weight: float) -> Tenant:
        """Makes a tenant or finds the same one; raises PlanNotFoundError, AlreadyExistsError."""
        async with postgres.acquired(self._pool, "making a tenant", seconds=SECONDS) as c:
            await _require_plan(c, plan)
            await c.execute(SQL["create_tenant"], name, plan, weight)
            row = await c.fetchrow(SQL["tenant"], name)
        assert row is not None
        if (row["plan"], row["weight"]) != (plan, weight):
            raise AlreadyExistsError(f"The tenant {name!r} exists with another plan or weight; update it instead.")
        return Tenant(**row)

    async def update(self, name: str, plan: str | None, weight: float | None) -> Tenant:
        """Moves a tenant; None: as it is. Raises PlanNotFoundError, TenantNotFoundError."""
        async with postgres.acquired(self._pool, "changing a tenant", seconds=SECONDS) as c:
            if plan is not None:
                await _require_plan(c, plan)
            row = await c.fetchrow(SQL["update_tenant"], name, plan, weight)
        if row is None:
            raise TenantNotFoundError(f"There is no tenant {name!r}.")
        return Tenant(**row)

    async def page(self, after: int, size: int) -> list[Tenant]:
        """Tenants by name, those after the tenant with the id ``after``; 0: from the first on."""
        async with postgres.acquired(self._pool, "listing tenants", seconds=SECONDS) as c:
            return [Tenant(**row) for row in await c.fetch(SQL["tenants"], after, size)]

    async def put_plan(self, name: str, slots: int, open_trainings: int) -> None:
        """Makes or changes a plan."""
        async with postgres.acquired(self._pool, "changing a plan", seconds=SECONDS) as c:
            await c.execute(SQL["put_plan"], name, slots, open_trainings)

    async def plans(self) -> list[Plan]:
        """All plans by name."""
        async with postgres.acquired(self._pool, "listing plans", seconds=SECONDS) as c:
            return [Plan(**row) for row in await c.fetch(SQL["plans"])]


async def _require_plan(c: postgres.Connection, plan: str) -> None:
    if await c.fetchrow(SQL["plan"], plan) is None:
        raise PlanNotFoundError(f"There is no plan {plan!r}.")
