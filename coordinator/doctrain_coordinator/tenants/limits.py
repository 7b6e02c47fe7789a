"""What a tenant's plan allows, and how much of it is in use."""

from __future__ import annotations

from dataclasses import dataclass

from doctrain_coordinator.core.states import ShardState
from doctrain_mesh import postgres
from doctrain_mesh.errors import TenantNotFoundError
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, ShardState)
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """The limits of a tenant's plan, 0 for none, with what is in use of those that are counted over the fleet."""

    plan: str
    slots: int
    slots_used: int
    open_trainings: int
    open_trainings_used: int
    open_documents: int
    open_documents_used: int
    upload_bytes: int
    upload_bytes_used: int
    training_documents: int
    requests_per_second: float
    watches: int
    suspended: bool
    suspend_reason: str


async def read(pool: Pool, tenant: int) -> TenantLimits:
    """The limits of a tenant as they stand now. Raises TenantNotFoundError, StoreUnavailableError."""
    async with postgres.acquired(pool, "reading a tenant's limits", seconds=SECONDS) as c:
        row = await c.fetchrow(SQL["limits"], tenant)
    if row is None:
        raise TenantNotFoundError("There is no such tenant any more.")
    return TenantLimits(**row)
