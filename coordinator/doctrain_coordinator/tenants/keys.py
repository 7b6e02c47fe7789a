"""API keys: made once and shown once, kept as a hash, looked up with a short memory."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass, replace
from datetime import datetime

from doctrain_mesh import postgres
from doctrain_mesh.errors import KeyNotFoundError, TenantNotFoundError, UnauthenticatedError, invalid_field
from doctrain_mesh.postgres import Connection, Pool, statements
from doctrain_mesh.supervise import deadline

SQL = statements.of(__name__)
READ_SECONDS = 5.0
REMEMBERED_SECONDS = 4.0
UNKNOWN_SECONDS = 1.0
"""How long a key that is not known is refused without asking Postgres again."""
MOST_REMEMBERED = 10_000
LOOK_UPS_AT_ONCE = 2
ROLE_TENANT, ROLE_WORKER, ROLE_OPERATOR = 1, 2, 3
ROLE_NAMES = {ROLE_TENANT: "tenant", ROLE_WORKER: "worker", ROLE_OPERATOR: "operator"}
UNKNOWN = "The API key is not known or was revoked."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: a role, the number of the API key, and the tenant, or the one that an operator acts for: its key in Postgres and name."""

    role: int
    tenant: int = 0
    tenant_id: str = ""
    key_id: int = 0


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as operators see it; ``tenant_id`` is None for those of no tenant, ``revoked_at`` for those in force."""

    id: int
    role: int
    tenant_id: str | None
    label: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key; this is the only time that it is seen."""

    key: str
    key_id: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look-up found, None for a key that is not known; ``until`` is on this process's monotonic clock."""

    until: float
    identity: Identity | None


class Keys:
    """Keys in Postgres. A revoked key is out of force everywhere within ``REMEMBERED_SECONDS``.

    Few are looked up at once: who has no key takes no connections from those who have one.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._remembered: dict[bytes, _Found] = {}
        self._look_ups = asyncio.Semaphore(LOOK_UPS_AT_ONCE)

    async def identify(self, key: str) -> Identity:
        """Whose key it is; raises UnauthenticatedError, StoreUnavailableError."""
        digest = _hash(key)
        found = self._recall(digest)
        if found is None:
            async with postgres.available("reading an API key"), deadline("Reading an API key", READ_SECONDS), self._look_ups:
                found = self._recall(digest) or await self._look_up(digest)
        if found.identity is None:
            raise UnauthenticatedError(UNKNOWN)
        return found.identity

    def _recall(self, digest: bytes) -> _Found | None:
        found = self._remembered.get(digest)
        return found if found is not None and found.until > time.monotonic() else None

    async def _look_up(self, digest: bytes) -> _Found:
        now = time.monotonic()
        async with postgres.acquired(self._pool, "reading an API key", seconds=READ_SECONDS) as c:
            row = await c.fetchrow(SQL["identify"], digest)
        identity = None if row is None else Identity(row["role"], row["tenant"] or 0, row["tenant_id"] or "", row["id"])
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        found = self._remembered[digest] = _Found(now + (UNKNOWN_SECONDS if identity is None else REMEMBERED_SECONDS), identity)
        return found

    async def for_tenant(self, operator: Identity, tenant_id: str) -> Identity:
        """The same operator, who acts for this tenant; raises TenantNotFoundError, StoreUnavailableError."""
        async with postgres.acquired(self._pool, "reading a tenant", seconds=READ_SECONDS) as c:
            tenant = await _tenant(c, tenant_id)
        return replace(operator, tenant=tenant or 0, tenant_id=tenant_id)

    async def knows(self, key: str) -> bool:
        """Whether the key is in force."""
        try:
            await self.identify(key)
        except UnauthenticatedError:
            return False
        return True

    async def create(self, role: int, tenant_id: str, label: str) -> MadeKey:
        """Makes a key; raises TenantNotFoundError, InvalidRequestError."""
        if role == ROLE_TENANT and not tenant_id:
            raise invalid_field("tenant_id", "A key of role tenant needs the name of its tenant.")
        if role != ROLE_TENANT and tenant_id:
            raise invalid_field("tenant_id", f"A key of role {ROLE_NAMES[role]} belongs to no tenant; leave the tenant out.")
        key = f"dt_{ROLE_NAMES[role]}_{secrets.token_urlsafe(32)}"
        async with postgres.acquired(self._pool, "making an API key", seconds=READ_SECONDS) as c:
            tenant = await _tenant(c, tenant_id)
            key_id: int = await c.fetchval(SQL["create"], _hash(key), role, tenant, label)
        return MadeKey(key, key_id)

    async def revoke(self, key_id: int) -> None:
        """Takes a key out of force; one that was revoked before stays so. Raises KeyNotFoundError."""
        async with postgres.acquired(self._pool, "revoking an API key", seconds=READ_SECONDS) as c:
            found = await c.fetchval(SQL["revoke"], key_id)
        if found is None:
            raise KeyNotFoundError(f"There is no key {key_id}.")
        self._remembered.clear()

    async def page(self, after: int, tenant_id: str, size: int) -> list[ListedKey]:
        """Keys with numbers above ``after``, of one tenant or (empty) of all; raises TenantNotFoundError."""
        async with postgres.acquired(self._pool, "listing API keys", seconds=READ_SECONDS) as c:
            tenant = await _tenant(c, tenant_id)
            return [ListedKey(**row) for row in await c.fetch(SQL["list"], after, tenant, size)]


async def _tenant(c: Connection, tenant_id: str) -> int | None:
    if not tenant_id:
        return None
    tenant: int | None = await c.fetchval(SQL["tenant_by_name"], tenant_id)
    if tenant is None:
        raise TenantNotFoundError(f"There is no tenant {tenant_id!r}.")
    return tenant


async def role_of(connection: Connection, key: str) -> int | None:
    """The role of a key in force; None for any other."""
    row = await connection.fetchrow(SQL["identify"], _hash(key))
    return None if row is None else int(row["role"])


async def has_operator(connection: Connection) -> bool:
    """Whether anybody holds an operator's key in force."""
    return bool(await connection.fetchval(SQL["has_operator"], ROLE_OPERATOR))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
