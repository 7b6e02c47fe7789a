"""Reads for a tenant, to which Postgres shows that tenant's rows alone, whatever a statement forgets to ask (docs/adr/0034)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh import postgres
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__)
ROLE = "doctrain_tenant"
READ_SECONDS = 10.0


@asynccontextmanager
async def acquired(pool: Pool, tenant: int, operation: str, *, seconds: float = READ_SECONDS) -> AsyncIterator[Connection]:
    """A connection, in a transaction that sees the tenant's rows alone and changes nothing. Raises StoreUnavailableError."""
    async with postgres.acquired(pool, operation, seconds=seconds) as c, c.transaction(readonly=True):
        await only(c, tenant)
        yield c


def grant(user: str) -> str:
    """The statement with which a superuser lets that user read so."""
    name = user.replace('"', '""')
    return f'grant {ROLE} to "{name}"'


async def only(c: Connection, tenant: int) -> None:
    """From here on this transaction sees the tenant's rows alone."""
    await c.fetchrow(SQL["act_as"], tenant)


async def check_role(c: Connection) -> None:
    """Raises ConfigurationError where the role is not there or may not read: after a dump of this database alone was restored elsewhere."""
    if not await c.fetchval(SQL["is_ready"]):
        raise ConfigurationError(
            f"The role {ROLE}, as which tenants' rows are read, is not there or may not read them: a dump of a database has no roles. "
            f"Run `create role {ROLE}` as a superuser and `grant {ROLE}` to this user, and restore the dump into an empty database again."
        )
