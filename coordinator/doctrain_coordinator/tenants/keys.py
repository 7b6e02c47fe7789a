"""API keys: made once and shown once, kept as a hash, looked up with a short memory."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import DELETED, ROLE_NAMES, ROLE_OPERATOR, ROLE_TENANT, Identity
from doctrain_mesh import postgres
from doctrain_mesh.errors import (
    KeyNotFoundError,
    LastOperatorKeyError,
    OperationTimeoutError,
    TenantNotFoundError,
    TenantSuspendedError,
    UnauthenticatedError,
    invalid_field,
)
from doctrain_mesh.postgres import Connection, Pool, Record, statements

SQL = statements.of(__name__)
READ_SECONDS = 5.0
REMEMBERED_SECONDS = 4.0
UNKNOWN_SECONDS = 1.0
"""How long a key that is not known is refused without asking Postgres again."""
MOST_REMEMBERED = 10_000
"""Keys in force, and as many others."""
LOOK_UPS_AT_ONCE = 2
"""Of keys that were found before, and as many of others."""
RETRY_SECONDS = 1.0
FORM = re.compile(rf"dt_(?:{'|'.join(ROLE_NAMES.values())})_[A-Za-z0-9_-]{{43}}")
"""What every key looks like."""
UNKNOWN = "The API key is not known or was revoked."
EXPIRED = "The API key expired on {day:%Y-%m-%d at %H:%M} UTC; use a newer one, or ask the operator of the mesh for it."


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as operators see it.

    ``tenant_id`` is None for those of no tenant, ``expires_at`` for those that never do, ``revoked_at`` for those that were not revoked.
    """

    id: int
    role: int
    tenant_id: str | None
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key; this is the only time that it is seen."""

    key: str
    key_id: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look-up found, None for a key that is not in force; ``until`` is on this process's monotonic clock."""

    until: float
    identity: Identity | None
    refusal: str = UNKNOWN


def shown_key(authorization: str) -> str:
    """The key that a call shows, whose ``authorization`` is ``Bearer KEY``; empty where it shows none."""
    kind, _, key = authorization.partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of those that look keys up, while open. Raises OperationTimeoutError."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            await turns.acquire()
    except TimeoutError as error:
        sentence = "More API keys than can be looked up at once are asked for here; call again later, or another coordinator."
        raise OperationTimeoutError(sentence, retry_after_seconds=RETRY_SECONDS) from error
    try:
        yield
    finally:
        turns.release()


class Keys:
    """Keys in Postgres. A revoked key is out of force everywhere within ``REMEMBERED_SECONDS``.

    Few are looked up at once, and what was never found apart from what was: who has no key takes no connections from those who have one,
    nor their turn.

    Args:
        pool: for the look-ups, for which workers' streams and everybody's calls wait.
        calls: for what operators' calls do with keys and tenants.
    """

    def __init__(self, pool: Pool, calls: Pool) -> None:
        self._pool, self._calls = pool, calls
        self._in_force: dict[bytes, _Found | None] = {}
        self._refused: dict[bytes, _Found | None] = {}
        self._look_ups_again = asyncio.Semaphore(LOOK_UPS_AT_ONCE)
        self._look_ups = asyncio.Semaphore(LOOK_UPS_AT_ONCE)

    async def identify(self, key: str) -> Identity:
        """Whose key it is; raises UnauthenticatedError, StoreUnavailableError, OperationTimeoutError where too many ask."""
        if FORM.fullmatch(key) is None:
            raise UnauthenticatedError(UNKNOWN)
        digest = _hash(key)
        found = self._recall(digest)
        if found is None:
            found = await (self._read_again(digest) if digest in self._in_force else self._read_first(digest))
        if found.identity is None:
            raise UnauthenticatedError(found.refusal)
        return found.identity

    def _recall(self, digest: bytes) -> _Found | None:
        found = self._in_force.get(digest) or self._refused.get(digest)
        return found if found is not None and found.until > time.monotonic() else None

    async def _read_again(self, digest: bytes) -> _Found:
        async with _turn(self._look_ups_again):
            return self._recall(digest) or await self._look_up(digest)

    async def _read_first(self, digest: bytes) -> _Found:
        async with _turn(self._look_ups):
            return self._recall(digest) or await self._look_up(digest)

    async def _look_up(self, digest: bytes) -> _Found:
        now = time.monotonic()
        async with postgres.acquired(self._pool, "reading an API key", seconds=READ_SECONDS) as c:
            row = await c.fetchrow(SQL["identify"], digest)
        found = _found(row, now)
        self._in_force.pop(digest, None)
        self._refused.pop(digest, None)
        memory = self._refused if found.identity is None else self._in_force
        if len(memory) >= MOST_REMEMBERED:
            del memory[next(iter(memory))]
        memory[digest] = found
        return found

    async def for_tenant(self, operator: Identity, tenant_id: str) -> Identity:
        """The same operator, who acts for this tenant; raises TenantNotFoundError, StoreUnavailableError."""
        async with postgres.acquired(self._calls, "reading a tenant", seconds=READ_SECONDS) as c:
            tenant = await _tenant(c, tenant_id)
        return replace(operator, tenant=tenant or 0, tenant_id=tenant_id)

    async def knows(self, key: str) -> bool:
        """Whether the key is in force."""
        try:
            await self.identify(key)
        except UnauthenticatedError:
            return False
        return True

    def forget(self) -> None:
        """What is remembered of tenants and keys is asked for again: something of theirs was changed here."""
        self._in_force = dict.fromkeys(self._in_force)
        self._refused.clear()

    async def create(
        self,
        role: int,
        tenant_id: str,
        label: str,
        *,
        lifetime_seconds: float | None = None,
        expires_at: datetime | None = None,
        deed: Deed | None = None,
    ) -> MadeKey:
        """Makes a key, in force for a while, until a moment, or without end.

        Raises TenantNotFoundError, TenantSuspendedError for one that is being deleted, and InvalidRequestError, also for a moment that is
        over.
        """
        if role == ROLE_TENANT and not tenant_id:
            raise invalid_field("tenant_id", "A key of role tenant needs the name of its tenant.")
        if role != ROLE_TENANT and tenant_id:
            raise invalid_field("tenant_id", f"A key of role {ROLE_NAMES[role]} belongs to no tenant; leave the tenant out.")
        key = f"dt_{ROLE_NAMES[role]}_{secrets.token_urlsafe(32)}"
        async with postgres.acquired(self._calls, "making an API key", seconds=READ_SECONDS) as c, c.transaction():
            tenant = await _tenant(c, tenant_id)
            if tenant is not None and await c.fetchval(SQL["lock_tenant"], tenant) is not False:
                raise TenantSuspendedError(f"The tenant {tenant_id!r} is being deleted; no key of it is made any more.")
            row = await c.fetchrow(SQL["create"], _hash(key), role, tenant, label, lifetime_seconds, expires_at)
            if row is None:
                raise invalid_field("expire_time", "The time at which the key expires is over; give one in the future.")
            if deed is not None:
                whose = f" for tenant {tenant_id}" if tenant_id else ""
                until = f", in force until {row['expires_at']:%Y-%m-%d %H:%M} UTC" if row["expires_at"] else ""
                sentence = f"Key {row['id']} of role {ROLE_NAMES[role]} was made{whose}{until}"
                await deed.write(c, sentence, subject=f"key {row['id']}")
        return MadeKey(key, row["id"], row["expires_at"])

    async def revoke(self, key_id: int, *, deed: Deed | None = None) -> None:
        """Takes a key out of force; one that was revoked before stays so. Raises KeyNotFoundError, LastOperatorKeyError."""
        async with postgres.acquired(self._calls, "revoking an API key", seconds=READ_SECONDS) as c, c.transaction():
            if [row["id"] for row in await c.fetch(SQL["lock_operators"], ROLE_OPERATOR)] == [key_id]:
                raise LastOperatorKeyError(
                    f"Key {key_id} is the only operator's key in force, and without it nobody could make another; make one first."
                )
            found = await c.fetchrow(SQL["revoke"], key_id)
            if found is None:
                raise KeyNotFoundError(f"There is no key {key_id}.")
            if deed is not None and found["was_in_force"]:
                deed.tenant_id = found["tenant_id"] or ""
                await deed.write(c, f"Key {key_id} was revoked")
        self.forget()

    async def page(self, after: int, tenant_id: str, size: int) -> list[ListedKey]:
        """Keys with numbers above ``after``, of one tenant or (empty) of all; raises TenantNotFoundError."""
        async with postgres.acquired(self._calls, "listing API keys", seconds=READ_SECONDS) as c:
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
    return None if row is None or _found(row, 0.0).identity is None else int(row["role"])


async def has_operator(connection: Connection) -> bool:
    """Whether anybody holds an operator's key in force."""
    return bool(await connection.fetchval(SQL["has_operator"], ROLE_OPERATOR))


def _found(row: Record | None, now: float) -> _Found:
    if row is None:
        return _Found(now + UNKNOWN_SECONDS, None)
    left: float | None = row["seconds_left"]
    if left is not None and left <= 0:
        return _Found(now + UNKNOWN_SECONDS, None, EXPIRED.format(day=row["expires_at"]))
    identity = Identity(
        row["role"],
        row["tenant"] or 0,
        row["tenant_id"] or "",
        row["id"],
        _suspended(row),
        row["plan"] or "",
        row["requests_per_second"] or 0.0,
        row["watches"] or 0,
    )
    return _Found(now + (REMEMBERED_SECONDS if left is None else min(REMEMBERED_SECONDS, left)), identity)


def _suspended(row: Record) -> str:
    if not row["suspended"]:
        return ""
    if row["deleting"]:
        return DELETED
    why = f": {row['suspend_reason']}" if row["suspend_reason"] else ""
    return f"This tenant is suspended{why}. Ask the operator of the mesh."


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
