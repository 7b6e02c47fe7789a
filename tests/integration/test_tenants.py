"""What operators do with tenants, plans and keys, on a real Postgres: suspend, delete, rotate, and who did what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import obstore
import pytest

import doctrain
from doctrain.fleet import AsyncFleet
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.tenants import keys
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.indexing import indexing, train
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(120)]
FAR = {"expire_time": datetime(9999, 12, 31, tzinfo=UTC)}


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, count=2, beat_seconds=0.2) as running:
        yield running


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)


async def listed(fleet: AsyncFleet) -> dict[str, fleet_pb2.Tenant]:
    return {tenant.tenant_id: tenant async for tenant in fleet.list_tenants()}


async def test_a_suspended_tenant_is_refused_with_the_reason_and_what_it_runs_stands_still(
    served: Coordinators, fleet: AsyncFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "REMEMBERED_SECONDS", 0.0)  # the other coordinator asks again at each call
    acme, other = await served.tenant("acme", "free"), await served.tenant("other", "free")
    documents = Documents()
    addresses = (one.address for one in served.running)
    async with worker(served.broker, documents, *addresses, worker_key=await served.key(2)):
        await acme.start_training(numbered=numbered(300), training_task_id="runs")
        await acme.start_training(numbered=numbered(3), training_task_id="paused")
        await acme.pause("paused")
        await wait_until(lambda: len(documents.running) == 5)
        for _ in range(2):
            tenant = await fleet.suspend_tenant("acme", reason="The invoice is open.")
        assert (tenant.state, tenant.suspend_reason) == (fleet_pb2.TENANT_STATE_SUSPENDED, "The invoice is open")
        assert tenant.HasField("suspend_time")

        async def said(call: Any) -> tuple[str, str]:
            error = await refused(call)
            return error.reason, error.sentence

        told = ("TENANT_SUSPENDED", "This tenant is suspended: The invoice is open. Ask the operator of the mesh.")
        assert await said(acme.start_training(numbered=numbered(1))) == told
        assert await said(acme.search("harbour")) == told
        assert await said(acme.upload(b"text")) == told
        assert await said(acme.resume("paused")) == told

        async def held() -> bool:
            return (await acme.get_training("runs")).paused

        await wait_until(held)

        async def at_rest() -> bool:
            documents.end(*documents.running)
            return (await acme.explain("runs")).slots_in_use == 0

        await wait_until(at_rest)
        (hold,) = (await acme.explain("runs")).holds
        assert (hold.message, hold.advice) == ("The tenant is suspended.", "Ask the operator of the mesh.")
        documents.end_all()
        await other.start_training(numbered=numbered(3), training_task_id="goes-on")
        assert (await other.wait("goes-on")).completed == 3

        assert (await fleet.resume_tenant("acme")).state == fleet_pb2.TENANT_STATE_ACTIVE
        assert (await acme.wait("runs")).completed == 300
        assert (await acme.get_training("paused")).paused, "the tenant's own wish stays"

        assert not (await acme.resume("paused")).paused
        assert (await acme.wait("paused")).completed == 3


async def test_what_a_dying_coordinator_left_of_a_suspension_is_done_by_the_others(served: Coordinators, fleet: AsyncFleet) -> None:
    acme = await served.tenant("acme")
    await acme.start_training(numbered=numbered(3), training_task_id="t")
    database = await served.database()
    await database.execute("update tenant set suspended_at = now() where name = 'acme'")
    await wait_until(lambda: database.fetchval("select suspended from training"))
    assert await database.fetchval("select bool_and(not_before = 'infinity') from shard")
    await database.execute("update tenant set suspended_at = null")
    await wait_until(lambda: database.fetchval("select not suspended from training"))
    assert await database.fetchval("select bool_and(not_before = '-infinity') from shard")


def files(served: Coordinators) -> set[str]:
    """The folders of tenants that have bytes in the store."""
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return {path.relative_to(root).parts[1] for path in root.rglob("*") if path.is_file()}


def folders(served: Coordinators, tenant: str) -> list[Path]:
    """Those of a tenant in the store, empty ones too."""
    return list(Path(served.settings.blob_url.removeprefix("file://")).glob(f"*/{tenant}"))


async def rows(database: asyncpg.Connection[Any], tenant: int, trainings: list[int]) -> dict[str, int]:
    """How many rows each table holds of a tenant, whichever column says so."""
    columns = await database.fetch(
        "select table_name, column_name from information_schema.columns join information_schema.tables using (table_schema, table_name) "
        "where table_schema = 'public' and table_type = 'BASE TABLE' and column_name in ('tenant', 'training') and data_type = 'bigint'"
    )
    counts: dict[str, int] = {}
    for table, column in (tuple(row) for row in columns):
        wanted = [tenant] if column == "tenant" else trainings
        counts[f"{table}.{column}"] = await database.fetchval(f"select count(*) from {table} where {column} = any($1::bigint[])", wanted)
    counts["tenant.id"] = await database.fetchval("select count(*) from tenant where id = $1", tenant)
    counts["training.id"] = await database.fetchval("select count(*) from training where id = any($1::bigint[])", trainings)
    counts["removed_training"] = await database.fetchval("select count(*) from removed_training")
    return counts


async def test_nothing_is_left_of_a_deleted_tenant_whatever_dies_meanwhile(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with coordinators(postgres, tmp_path, beat_seconds=0.2) as served:
        fleet = (await served.client(await served.key(3))).fleet
        acme, other = await served.tenant("acme", "free"), await served.tenant("other", "free")
        database = await served.database()
        held = asyncio.Event()

        async def dies(*_: object) -> None:
            held.set()
            await asyncio.Event().wait()

        async with indexing(served) as indexer:
            for client in (acme, other):
                await train(client, {"a": "The harbour.", "b": "A harbour."})
            await acme.upload(b"never trained")
            await fleet.cap_concurrency(3, tenant_id="acme")
            await acme.upload(b"large" * (2 << 20))
            indexer.gates["slow"] = asyncio.Event()
            slow = pb.DocumentInput(document_id="slow", content=b"The slow harbour.")
            await acme.start_training([slow], training_task_id="runs")
            await wait_until(lambda: "slow" in indexer.at_gate)
            tenant = await database.fetchval("select id from tenant where name = 'acme'")
            trainings = [row["id"] for row in await database.fetch("select id from training where tenant = $1", tenant)]
            await wait_until(lambda: database.fetchval("select count(distinct tenant) = 2 from usage"))
            await database.execute("insert into stage_usage values ($1, now(), 'read', 5)", tenant)  # which this worker does not tell
            broken_off = "insert into deleted_document values ($1, 'c', 1, now(), $2, 'infinity')"
            await database.execute(broken_off, tenant, trainings[0])
            before = await rows(database, tenant, trainings)
            assert {table for table, count in before.items() if not count} == {"removed_training"}
            kept = await rows(database, tenant + 1, [])

            monkeypatch.setattr(obstore, "delete_async", dies)
            assert (await fleet.delete_tenant("acme")).state == fleet_pb2.TENANT_STATE_DELETING
            assert (await refused(acme.get_training("runs"))).reason == "UNAUTHENTICATED"
            await asyncio.wait_for(held.wait(), 60)
        assert (await listed(fleet))["acme"].state == fleet_pb2.TENANT_STATE_DELETING
        assert (await refused(fleet.create_tenant("acme", plan="free"))).reason == "ALREADY_EXISTS"
        assert (await refused(fleet.resume_tenant("acme"))).reason == "TENANT_SUSPENDED"
        assert (await refused(fleet.create_key("tenant", tenant_id="acme"))).reason == "TENANT_SUSPENDED"
    monkeypatch.undo()  # the coordinator died in the middle; another one goes on
    async with coordinators(postgres, tmp_path, beat_seconds=0.2) as served:
        fleet = (await served.client(await served.key(3))).fleet
        database = await served.database()

        async def gone() -> bool:
            return "acme" not in await listed(fleet)

        await wait_until(gone, 60)
        assert {table: count for table, count in (await rows(database, tenant, trainings)).items() if count} == {}
        assert files(served) == {"other"}
        assert folders(served, "acme") == []
        after = await rows(database, tenant + 1, [])
        assert after | {"api_key.tenant": 0} == kept | {"api_key.tenant": 0}
        entries = [entry.sentence async for entry in fleet.list_audit_log(tenant_id="acme")]
        assert "Tenant acme is being deleted" in entries, "the audit log stays"
        await fleet.create_tenant("acme", plan="free")


async def test_several_keys_are_in_force_at_once_and_an_expired_one_says_so(served: Coordinators, fleet: AsyncFleet) -> None:
    await served.tenant("acme")
    old = await fleet.create_key("tenant", tenant_id="acme", lifetime=timedelta(seconds=2))
    new = await fleet.create_key("tenant", tenant_id="acme", expire_time=datetime.now(UTC) + timedelta(days=90))
    first, second = await served.client(old.key), await served.client(new.key)
    for client in (first, second):
        await client.get_index()
    known = {key.key_id: key async for key in fleet.list_keys(tenant_id="acme")}
    assert known[old.key_id].expire_time == old.expire_time
    assert [key.HasField("expire_time") for key in known.values()] == [False, True, True]

    async def expired() -> Any:
        try:
            await first.get_index()
        except doctrain.errors.UnauthenticatedError as error:
            return error.sentence
        return None

    assert "The API key expired on " in await wait_until(expired)
    await second.get_index()
    for ends in ({"lifetime": timedelta(0)}, {"lifetime": timedelta(days=9999)}, {"expire_time": datetime(2020, 1, 1, tzinfo=UTC)}, FAR):
        error = await refused(fleet.create_key("tenant", tenant_id="acme", **ends))
        assert (error.reason, [violation.field for violation in error.violations]) == ("INVALID_REQUEST", [*ends])


async def test_the_last_operators_key_is_not_revoked(served: Coordinators, fleet: AsyncFleet) -> None:
    first = [key.key_id async for key in fleet.list_keys() if key.role == fleet_pb2.ROLE_OPERATOR]
    other = await fleet.create_key("operator", label="another")
    for key_id in first:
        await fleet.revoke_key(key_id)
    client = await served.client(other.key)
    error = await refused(client.fleet.revoke_key(other.key_id))
    assert (error.reason, "make one first" in error.sentence) == ("LAST_OPERATOR_KEY", True)
    await client.fleet.list_plans()


async def test_a_plan_is_deleted_when_no_tenant_has_it(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("gold", slots=7)
    await fleet.create_tenant("acme", plan="gold")
    error = await refused(fleet.delete_plan("gold"))
    assert (error.reason, "acme" in error.sentence) == ("PLAN_IN_USE", True)
    await fleet.update_tenant("acme", plan="free")
    await fleet.delete_plan("gold")
    assert [plan.name for plan in await fleet.list_plans()] == ["free", "paid"]
    assert (await refused(fleet.delete_plan("gold"))).reason == "PLAN_NOT_FOUND"


async def test_the_audit_log_says_who_did_what_and_what_was_refused(served: Coordinators, fleet: AsyncFleet) -> None:
    await fleet.put_plan("gold", slots=7, watches=2)
    await fleet.create_tenant("acme", plan="gold")
    made = await fleet.create_key("tenant", tenant_id="acme", label="laptop")
    acme = await served.client(made.key)
    await acme.start_training([pb.DocumentInput(document_id="payroll", content=b"secret")], training_task_id="t")
    for change in (acme.pause, acme.pause, acme.resume, acme.cancel):
        await change("t")
    await acme.delete_documents(["payroll"])
    await refused(fleet.delete_plan("gold"))
    refusal = await refused(fleet.put_plan("gold", slots=-1))
    await refused(anext(fleet.list_all_trainings(page_size=-1)))
    await refused(acme.fleet.delete_plan("gold"))
    await fleet.suspend_tenant("acme", reason="Test")
    entries = [entry async for entry in fleet.list_audit_log(page_size=3)][::-1]
    assert [(entry.call, entry.subject, entry.outcome, entry.sentence) for entry in entries] == [
        ("PutPlan", "plan gold", "OK", "Plan gold was set to 7 slots, 1000 open trainings and 2 watches"),
        ("CreateTenant", "tenant acme", "OK", "Tenant acme was made, of plan gold and weight 1"),
        ("CreateKey", f"key {made.key_id}", "OK", f"Key {made.key_id} of role tenant was made for tenant acme"),
        ("StartTraining", "training t", "OK", "Training 1 (t) was started"),
        ("PauseTraining", "training t", "OK", "Training 1 (t) was paused"),
        ("ResumeTraining", "training t", "OK", "Training 1 (t) was resumed"),
        ("CancelTraining", "training t", "OK", "Training 1 (t) was cancelled"),
        (
            "DeletePlan",
            "plan gold",
            "PLAN_IN_USE",
            "The plan 'gold' is that of the tenant 'acme', and maybe of others; give them another one first.",
        ),
        ("PutPlan", "", "INVALID_REQUEST", refusal.sentence),
        ("SuspendTenant", "tenant acme", "OK", "Tenant acme was suspended: Test"),
    ]
    operator = entries[0].key_id
    assert {(entry.role, entry.key_id) for entry in entries} == {(fleet_pb2.ROLE_OPERATOR, operator), (fleet_pb2.ROLE_TENANT, made.key_id)}
    assert not any(word in str(entries) for word in (made.key, "payroll", "secret"))
    of_acme = [entry.call async for entry in fleet.list_audit_log(tenant_id="acme")]
    assert len(of_acme) == len(entries) - 3
    assert (await refused(anext(acme.fleet.list_audit_log()))).reason == "PERMISSION_DENIED"
