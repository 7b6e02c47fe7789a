"""What cannot be removed keeps nothing else from being removed: another tenant, another step, what lies beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import obstore
import pytest

from doctrain.fleet import AsyncFleet
from doctrain_coordinator import metrics
from doctrain_coordinator.removal import removals, tries
from doctrain_coordinator.search import remains
from doctrain_mesh.documents import object_store
from doctrain_mesh.documents.artifacts import Origin
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.postgres import connections
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]
HOLDER = (
    "select pid from pg_locks join pg_stat_activity using (pid) "
    "where locktype = 'advisory' and granted and application_name = 'doctrain removal' and datname = current_database()"
)
KEPT: dict[str, Any] = {"keep_trainings_days": 30.0, "keep_uploads_days": 10.0, "keep_audit_days": 100.0}


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    for name in ("RETENTION_SECONDS", "ARTIFACTS_SECONDS"):
        monkeypatch.setattr(removals, name, 0.0)
    for name in ("LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(removals, name, 0.1)
    for name in ("FIRST_SECONDS", "MOST_SECONDS"):
        monkeypatch.setattr(tries, name, 0.1)
    async with coordinators(postgres, tmp_path, count=2, **KEPT) as running:
        yield running


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


@pytest.fixture
async def database(served: Coordinators) -> asyncpg.Connection[Any]:
    return await served.database()


class Locked:
    """Objects that the store keeps whoever would delete them, by what their paths hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: set[str] = set()
        delete: Any = obstore.delete_async

        async def refuse(store: Any, path: str) -> None:
            if any(part in path for part in self.parts):
                raise PermissionError(path)
            await delete(store, path)

        monkeypatch.setattr(obstore, "delete_async", refuse)


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Locked:
    return Locked(monkeypatch)


def root(served: Coordinators) -> Path:
    return Path(served.settings.blob_url.removeprefix("file://"))


def stored(served: Coordinators) -> set[str]:
    return {path.read_text() for path in root(served).rglob("*") if path.is_file()}


def failing() -> dict[str, float]:
    """The steps that fail, as the metric tells."""
    metrics.REMOVAL_FAILING.sample()
    told = [(str((one.attributes or {})["doctrain.step"]), one.value) for one in metrics.REMOVAL_FAILING._last]
    return {step: value for step, value in told if value}


async def test_a_tenant_whose_bytes_are_locked_keeps_no_other_and_no_retention(
    served: Coordinators, fleet: AsyncFleet, database: Any, locked: Locked
) -> None:
    first, second = await served.tenant("first"), await served.tenant("second")
    held, other = await first.upload(b"held"), await first.upload(b"free")
    await second.upload(b"of the second")
    assert held.uri != other.uri
    locked.parts = {held.sha256}
    await database.execute("update audit_entry set happened_at = now() - interval '101 days'")
    await fleet.delete_tenant("first")
    await wait_until(lambda: failing() == {"tenants": 1})
    await fleet.delete_tenant("second")

    async def names() -> list[str]:
        return [tenant.tenant_id async for tenant in fleet.list_tenants()]

    async def only_the_first() -> bool:
        return await names() == ["first"]

    await wait_until(only_the_first, 30)
    assert stored(served) == {"held"}, "of the first, too, all else is gone"
    old = "select count(*) = 0 from audit_entry where happened_at < now() - interval '100 days'"
    await wait_until(lambda: database.fetchval(old))
    assert failing() == {"tenants": 1}
    locked.parts = set()

    async def none() -> bool:
        return await names() == []

    await wait_until(none, 30)
    assert stored(served) == set()
    await wait_until(lambda: failing() == {})


async def test_old_uploads_go_beside_one_that_is_locked(served: Coordinators, database: Any, locked: Locked) -> None:
    first, second = await served.tenant("first"), await served.tenant("second")
    locked.parts = {(await first.upload(b"held")).sha256}
    await first.upload(b"beside it")
    await second.upload(b"of another")
    await database.execute("update upload set stored_at = now() - interval '11 days'")
    await wait_until(lambda: stored(served) == {"held"}, 30)
    await wait_until(lambda: failing() == {"uploads": 1})
    assert await database.fetchval("select count(*) from upload") == 1, "what is there stays written down"
    locked.parts = set()
    await wait_until(lambda: stored(served) == set(), 30)
    await wait_until(lambda: database.fetchval("select count(*) = 0 from upload"))


async def test_old_artifacts_go_page_by_page_beside_one_that_is_locked(
    served: Coordinators, database: Any, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "LISTED_AT_ONCE", 2)
    await served.tenant("acme")
    tenant = await database.fetchval("select id from tenant where name = 'acme'")
    artifacts = BlobStore(served.settings.blob_url).artifacts
    locked.parts = {"page 3"}
    for number in range(9):
        await artifacts.put(Origin(tenant, "acme", "document", b"1"), f"page {number}", str(number).encode())
    for path in (path for path in root(served).rglob("page*") if path.name != "page 8"):
        os.utime(path, (0, 0))
    await wait_until(lambda: stored(served) == {"3", "8"}, 30)
    await wait_until(lambda: failing() == {"old_artifacts": 1})


async def test_a_part_of_an_upload_that_cannot_be_removed_is_no_outage_of_postgres(
    served: Coordinators, fleet: AsyncFleet, database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "OUTAGE", Outage("Postgres"))
    folder = root(served) / "uploading" / "acme"
    (folder / "half#0").mkdir(parents=True)  # of which an unlink is an OSError, whoever runs this
    for name in ("half#1", "whole"):
        (folder / name).write_bytes(b"...")
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    await fleet.put_plan("gold", slots=3)
    await database.execute("update audit_entry set happened_at = now() - interval '101 days'")
    await wait_until(lambda: [path.name for path in folder.iterdir()] == ["half#0"])
    await wait_until(lambda: failing() == {"broken_uploads": 1})
    await wait_until(lambda: database.fetchval("select count(*) = 0 from audit_entry"))
    assert "Postgres is away" not in caplog.text


@pytest.mark.parametrize("folder", ["uploading/acme", "artifacts/acme.12345"])
async def test_postgres_hears_of_who_removes_between_two_pages(
    served: Coordinators, database: Any, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(object_store, "LISTED_AT_ONCE", 1)
    delete, waiting = obstore.delete_async, list[asyncio.Event]()

    async def at_gate(*args: Any) -> None:
        waiting.append(asyncio.Event())
        await waiting[-1].wait()
        await delete(*args)

    monkeypatch.setattr(obstore, "delete_async", at_gate)
    heard = "select max(query_start) from pg_stat_activity where pid = $1"
    holder = await wait_until(lambda: database.fetchval(HOLDER))
    (root(served) / folder).mkdir(parents=True)
    for name in ("one", "two"):
        (root(served) / folder / name).write_bytes(b"...")
        os.utime(root(served) / folder / name, (0, 0))
    await wait_until(lambda: len(waiting) == 1, 30)
    before = await database.fetchval(heard, holder)
    waiting[0].set()
    await wait_until(lambda: len(waiting) == 2)
    assert await database.fetchval(heard, holder) > before
    waiting[1].set()
    await wait_until(lambda: stored(served) == set())


async def test_what_deleted_documents_left_goes_beside_what_another_tenants_left(
    served: Coordinators, database: Any, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.1)
    artifacts = BlobStore(served.settings.blob_url).artifacts
    for name in ("first", "second"):
        await served.tenant(name)
        tenant = await database.fetchval("select id from tenant where name = $1", name)
        await artifacts.put(Origin(tenant, name, "document", b"1"), "page", name.encode())
    locked.parts = {"first"}
    await database.execute("insert into deleted_document select id, 'document', 1, now(), null, now() from tenant")
    await wait_until(lambda: stored(served) == {"first"}, 30)
    await wait_until(lambda: database.fetchval("select count(*) = 1 from deleted_document"))


async def test_one_coordinator_removes_and_another_one_once_its_connection_is_gone(
    served: Coordinators, fleet: AsyncFleet, database: Any
) -> None:
    first = await wait_until(lambda: database.fetchval(HOLDER))
    await served.tenant("acme")
    await database.execute("select pg_terminate_backend($1)", first)
    await fleet.delete_tenant("acme")

    async def gone() -> bool:
        return [tenant.tenant_id async for tenant in fleet.list_tenants()] == []

    await wait_until(gone, 30)
    assert [row["pid"] != first for row in await database.fetch(HOLDER)] == [True]
