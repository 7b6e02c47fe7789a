"""Keys that are not known keep no key that is waiting, from a coordinator on a real Postgres."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from doctrain_coordinator.tenants import keys
from doctrain_mesh.errors import OperationTimeoutError, UnauthenticatedError
from testkit.coordinator import Coordinators
from testkit.waiting import wait_until

LOCK = "lock table api_key in access exclusive mode"
WAITING = "select count(*) >= $1 from pg_locks where relation = 'api_key'::regclass and not granted"


def unknown() -> str:
    """A key that nobody made, in the form of those that are made."""
    return f"dt_tenant_{secrets.token_urlsafe(32)}"


async def refuse(known: keys.Keys, key: str) -> None:
    with pytest.raises(UnauthenticatedError, match="not known or was revoked"):
        await known.identify(key)


async def test_what_looks_like_no_key_is_not_looked_up(served: Coordinators) -> None:
    database = await served.database()
    async with database.transaction():
        await database.execute(LOCK)
        for key in ("wrong", "dt_tenant_wrong", "dt_nobody_" + "a" * 43, "dt_tenant_" + "a" * 44, "dt_tenant_" + "ä" * 43):
            await refuse(served.running[0].keys, key)


async def test_a_key_in_force_does_not_wait_behind_unknown_ones(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REMEMBERED_SECONDS", 0.0)
    known, good = served.running[0].keys, await served.key(3)
    await known.identify(good)
    database, looking = await served.database(), await served.database()
    async with asyncio.TaskGroup() as group:
        async with database.transaction():
            await database.execute(LOCK)
            others = [group.create_task(refuse(known, unknown())) for _ in range(400)]
            await wait_until(lambda: looking.fetchval(WAITING, 2), 4)
            mine = group.create_task(known.identify(good))
            await wait_until(lambda: looking.fetchval(WAITING, 3), 4)
        await mine
        assert sum(other.done() for other in others) < 100


async def test_unknown_keys_do_not_make_those_in_force_forgotten(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REMEMBERED_SECONDS", 60.0)
    monkeypatch.setattr(keys, "MOST_REMEMBERED", 5)
    known, good = served.running[0].keys, await served.key(3)
    await known.identify(good)
    for _ in range(12):
        await refuse(known, unknown())
    database = await served.database()
    async with database.transaction():
        await database.execute(LOCK)
        assert (await known.identify(good)).role == 3


async def test_who_waits_behind_too_many_unknown_keys_is_not_told_that_postgres_is_away(
    served: Coordinators, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = served.running[0].keys
    await known.identify(await served.key(3))
    database, looking = await served.database(), await served.database()
    async with asyncio.TaskGroup() as group, database.transaction():
        await database.execute(LOCK)
        for _ in range(keys.LOOK_UPS_AT_ONCE):
            group.create_task(refuse(known, unknown()))
        await wait_until(lambda: looking.fetchval(WAITING, keys.LOOK_UPS_AT_ONCE), 4)
        monkeypatch.setattr(keys, "READ_SECONDS", 0.1)
        with pytest.raises(OperationTimeoutError, match="More API keys than can be looked up at once"):
            await known.identify(unknown())
    assert "away" not in caplog.text
