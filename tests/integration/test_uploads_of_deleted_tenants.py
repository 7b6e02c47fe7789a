"""Uploads that are on their way while their tenant is deleted: what is told as stored is removed, what comes later is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest

import doctrain
from doctrain.fleet import AsyncFleet
from doctrain_coordinator.removal import removals, tenants
from doctrain_mesh.documents.artifacts import Origin
from doctrain_mesh.documents.blobs import BlobStore
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(removals, "LOOK_SECONDS", 0.1)
    async with coordinators(postgres, tmp_path) as running:
        yield running


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


@pytest.fixture
async def acme(served: Coordinators) -> doctrain.AsyncClient:
    return await served.tenant("acme")


class SlowStore:
    """Each put waits until its gate is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[asyncio.Event] = []
        put: Any = obstore.put_async

        async def slow(*args: Any, **keywords: Any) -> Any:
            gate = asyncio.Event()
            self.waiting.append(gate)
            await gate.wait()
            return await put(*args, **keywords)

        monkeypatch.setattr(obstore, "put_async", slow)


def stored(served: Coordinators) -> list[str]:
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return [path.read_text() for path in root.rglob("*") if path.is_file()]


async def names(fleet: AsyncFleet) -> list[str]:
    return [tenant.tenant_id async for tenant in fleet.list_tenants()]


async def test_bytes_that_were_known_and_come_again_leave_nothing_of_a_deleted_tenant(
    served: Coordinators, fleet: AsyncFleet, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acme.upload(b"known")
    store = SlowStore(monkeypatch)
    async with asyncio.TaskGroup() as group:
        again = [group.create_task(acme.upload(b"known")) for _ in range(2)]
        await wait_until(lambda: len(store.waiting) == 2)
        await fleet.delete_tenant("acme")
        store.waiting[0].set()
        await asyncio.wait(again, return_when=asyncio.FIRST_COMPLETED)
        looks, remove = Counter[str](), tenants.TenantRemoval.remove

        async def looked(self: tenants.TenantRemoval, *tenant: Any) -> None:
            await remove(self, *tenant)
            looks["ended"] += 1

        monkeypatch.setattr(tenants.TenantRemoval, "remove", looked)
        await wait_until(lambda: looks["ended"] >= 2)
        assert await names(fleet) == ["acme"]
        store.waiting[1].set()
    assert [upload.result().size for upload in again] == [5, 5]

    async def gone() -> bool:
        return await names(fleet) == []

    await wait_until(gone, 60)
    assert stored(served) == []


async def test_bytes_that_come_when_nothing_is_left_of_their_tenant_are_refused_and_do_not_stay(
    served: Coordinators, fleet: AsyncFleet, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenants, "ARRIVAL_SECONDS", 0.0)
    store = SlowStore(monkeypatch)
    async with asyncio.TaskGroup() as group:
        late = group.create_task(refused(acme.upload(b"late")))
        await wait_until(lambda: len(store.waiting) == 1)
        await fleet.delete_tenant("acme")

        async def gone() -> bool:
            return await names(fleet) == []

        await wait_until(gone, 60)
        store.waiting[0].set()
    assert late.result().reason == "TENANT_SUSPENDED"
    assert stored(served) == []


async def test_artifacts_that_come_when_their_tenant_is_no_more_do_not_stay_nor_are_another_ones(
    served: Coordinators, fleet: AsyncFleet, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, key = BlobStore(served.settings.blob_url).artifacts, "select id from tenant where name = 'acme'"
    database = await served.database()
    first = Origin(await database.fetchval(key), "acme", "late", b"1")
    await artifacts.put(first, "page", b"first")
    await fleet.delete_tenant("acme")

    async def gone() -> bool:
        return await names(fleet) == []

    await wait_until(gone, 60)
    assert stored(served) == []
    await artifacts.put(first, "page", b"late")
    await served.tenant("acme")
    second = replace(first, tenant=await database.fetchval(key))
    assert await artifacts.sizes(second) == {}
    await artifacts.put(second, "page", b"second")
    monkeypatch.setattr(removals, "RETENTION_SECONDS", 0.1)

    async def only_its_own() -> bool:
        return list(await artifacts.folders()) == [f"artifacts/acme.{second.tenant}"]

    await wait_until(only_its_own)
    assert stored(served) == ["second"]
