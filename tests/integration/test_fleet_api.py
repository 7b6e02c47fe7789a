"""What operators get, from a coordinator on a real Postgres without workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

import doctrain
from doctrain.v1 import fleet_pb2, fleet_pb2_grpc
from doctrain.v1.training_pb2 import NumberedDocuments
from doctrain_coordinator import metrics
from doctrain_coordinator.dispatch import fleet_measures
from doctrain_mesh.registry import membership
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.gauges import told
from testkit.waiting import wait_until


async def test_operators_list_keys_and_learn_of_unknown_ones(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    operator = await served.client(await served.key(3))
    made = await operator.fleet.create_key("tenant", tenant_id="acme", label="laptop")
    before = [key async for key in operator.fleet.list_keys(page_size=1)]
    assert [key.key_id for key in before] == sorted(key.key_id for key in before)
    found = before[-1]
    assert (found.key_id, found.role, found.tenant_id, found.label) == (made.key_id, fleet_pb2.ROLE_TENANT, "acme", "laptop")
    assert found.HasField("create_time")
    assert not found.HasField("revoke_time")
    assert made.key not in str(before)
    for _ in range(2):
        await operator.fleet.revoke_key(made.key_id)
    mine = [key async for key in operator.fleet.list_keys(tenant_id="acme")]
    assert {key.tenant_id for key in mine} == {"acme"}
    assert [key.HasField("revoke_time") for key in mine] == [False] * (len(mine) - 1) + [True]
    for unknown in (made.key_id + 1000, 0, -1, 2**63 - 1):
        assert (await refused(operator.fleet.revoke_key(unknown))).reason == "KEY_NOT_FOUND"
    assert (await refused(anext(operator.fleet.list_keys(tenant_id="nobody")))).reason == "TENANT_NOT_FOUND"
    assert (await refused(anext(acme.fleet.list_keys()))).reason == "PERMISSION_DENIED"
    assert str(await refused((await served.client("dt_tenant_wrong")).get_training("t"))) == "The API key is not known or was revoked."


async def test_a_list_without_further_pages_takes_a_limit_that_is_not_negative(served: Coordinators) -> None:
    operator = await served.client(await served.key(3))
    for asked in (operator.fleet.list_dead_letters(limit=-1), operator.fleet.get_concurrency(decisions=-1)):
        (violation,) = (await refused(asked)).violations
        assert (violation.field, violation.description) == ("limit", "A limit must not be negative.")


async def test_tenants_are_listed_by_name(served: Coordinators) -> None:
    for name in ("pear", "apple", "fig", "date"):
        await served.tenant(name)
    operator = await served.client(await served.key(3))
    listed = [tenant.tenant_id async for tenant in operator.fleet.list_tenants()]
    assert listed == sorted(listed)
    stub = fleet_pb2_grpc.FleetServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(3)}"),)
    paged, token = list[str](), ""
    while True:
        page = await stub.ListTenants(fleet_pb2.ListTenantsRequest(page_size=2, page_token=token), metadata=key)
        paged += [tenant.tenant_id for tenant in page.tenants]
        token = page.next_page_token
        if not token:
            break
    assert paged == listed


async def test_a_tenants_plan_and_weight_change_alone_and_a_weight_has_bounds(served: Coordinators) -> None:
    operator = await served.client(await served.key(3))
    made = await operator.fleet.create_tenant("acme", plan="free", weight=3)
    assert (made.plan, made.weight) == ("free", 3)
    moved = await operator.fleet.update_tenant("acme", plan="paid")
    assert (moved.plan, moved.weight) == ("paid", 3)
    weighed = await operator.fleet.update_tenant("acme", weight=0.5)
    assert (weighed.plan, weighed.weight) == ("paid", 0.5)
    for bound in (0.001, 1000, 0.5):
        assert (await operator.fleet.update_tenant("acme", weight=bound)).weight == bound
    for wrong in (0, -1, 0.000999, 5e-324, 1000.001, float("nan"), float("inf"), float("-inf")):
        said = await refused(operator.fleet.update_tenant("acme", weight=wrong))
        assert (said.reason, said.sentence) == ("INVALID_REQUEST", "A weight must be from 0.001 to 1,000.")
        assert [violation.field for violation in said.violations] == ["tenant.weight"]
        assert (await refused(operator.fleet.create_tenant("other", plan="free", weight=wrong))).reason == "INVALID_REQUEST"
    (kept,) = [tenant async for tenant in operator.fleet.list_tenants()]
    assert (kept.tenant_id, kept.plan, kept.weight) == ("acme", "paid", 0.5)
    assert (await refused(operator.fleet.update_tenant("nobody", weight=1))).reason == "TENANT_NOT_FOUND"
    assert (await refused(operator.fleet.update_tenant("acme", plan="none-such"))).reason == "PLAN_NOT_FOUND"


async def test_operators_who_change_limits_of_one_plan_at_once_each_have_their_way(served: Coordinators) -> None:
    fleet = (await served.client(await served.key(3))).fleet
    await fleet.put_plan("gold", slots=7, burst_slots=9)
    chosen = {
        "slots": 8,
        "burst_slots": 20,
        "open_trainings": 30,
        "training_documents": 40,
        "open_documents": 50,
        "requests_per_second": 1_000_000.0,
        "watches": 70,
        "upload_bytes": 50_000_000_000,
    }
    await asyncio.gather(*(fleet.update_plan("gold", **{limit: value}) for limit, value in chosen.items()))  # type: ignore[arg-type]
    assert fleet_pb2.Plan(name="gold", **chosen) in await fleet.list_plans()  # type: ignore[arg-type]
    assert (await fleet.update_plan("gold", watches=0, open_trainings=0)).open_trainings == 1_000
    for _ in range(2):
        await fleet.update_plan("gold", slots=8)
    told = {entry.sentence async for entry in fleet.list_audit_log() if entry.call == "UpdatePlan" and entry.subject == "plan gold"}
    assert told == {
        "Plan gold was changed: slots from 7 to 8",
        "Plan gold was changed: slots in a burst from 9 to 20",
        "Plan gold was changed: open trainings from 1,000 to 30",
        "Plan gold was changed: documents a training from no limit to 40",
        "Plan gold was changed: open documents from no limit to 50",
        "Plan gold was changed: requests a second from no limit to 1,000,000",
        "Plan gold was changed: watches from no limit to 70",
        "Plan gold was changed: bytes of uploads from no limit to 50,000,000,000",
        "Plan gold was changed: open trainings from 30 to 1,000, watches from 70 to no limit",
    }


async def test_a_plan_that_does_not_burst_does_not_when_its_slots_change(served: Coordinators) -> None:
    fleet = (await served.client(await served.key(3))).fleet
    await fleet.put_plan("gold", slots=7)
    for slots in (12, 3):
        changed = await fleet.update_plan("gold", slots=slots)
        assert (changed.slots, changed.burst_slots) == (slots, slots)
    assert (await fleet.update_plan("gold", burst_slots=9)).slots == 3
    refusals = {
        await refused(fleet.update_plan("gold", slots=10)): "burst_slots",
        await refused(fleet.update_plan("gold", slots=0)): "slots",
        await refused(fleet.update_plan("gold", watches=-1)): "watches",
        await refused(fleet.update_plan("Gold", slots=1)): "name",
    }
    for refusal, field in refusals.items():
        assert (refusal.reason, [violation.field for violation in refusal.violations]) == ("INVALID_REQUEST", [field])
    assert (await refused(fleet.update_plan("none-such", slots=1))).reason == "PLAN_NOT_FOUND"
    (kept,) = [plan for plan in await fleet.list_plans() if plan.name == "gold"]
    assert (kept.slots, kept.burst_slots) == (3, 9)


async def test_a_name_that_is_none_is_told_with_whose_it_is(served: Coordinators) -> None:
    stub = fleet_pb2_grpc.FleetServiceStub(await served.channel())
    key = (("authorization", f"Bearer {await served.key(3)}"),)
    for tenant, whose in (
        (fleet_pb2.Tenant(tenant_id="acme"), "A plan's name"),
        (fleet_pb2.Tenant(tenant_id="ACME", plan="paid"), "A tenant's id"),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=f"{whose} has 1 to 64 characters, lower-case letters"):
            await stub.CreateTenant(fleet_pb2.CreateTenantRequest(tenant=tenant), metadata=key)


async def test_a_plan_that_is_given_less_than_no_calls_a_second_has_no_limit_of_them(served: Coordinators) -> None:
    fleet = (await served.client(await served.key(3))).fleet
    await fleet.put_plan("paced", slots=5, requests_per_second=20)
    assert str((await fleet.update_plan("paced", requests_per_second=-0.0)).requests_per_second) == "0.0"
    assert str((await fleet.put_plan("rare", slots=5, requests_per_second=-0.0)).requests_per_second) == "0.0"
    assert [str(plan.requests_per_second) for plan in await fleet.list_plans() if plan.name in ("paced", "rare")] == ["0.0", "0.0"]


async def test_a_key_has_a_tenant_when_its_role_has_one(served: Coordinators) -> None:
    operator = await served.client(await served.key(3))
    none = await refused(operator.fleet.create_key("tenant"))
    assert none.sentence == "A key of role tenant needs the name of its tenant."
    much = await refused(operator.fleet.create_key("operator", tenant_id="acme"))
    assert much.sentence == "A key of role operator belongs to no tenant; leave the tenant out."
    assert [violation.field for violation in (*none.violations, *much.violations)] == ["tenant_id", "tenant_id"]


async def test_workers_that_say_strange_things_of_themselves_are_listed_without_them(served: Coordinators) -> None:
    numbers = ("1e300", "1" * 400, "NaN", "-5", '"many"', "true", "[]", "{}")
    database = await served.database()
    for place, number in enumerate(numbers):
        await database.execute("insert into session (worker_id, lanes, attached) values ($1, 1, 1)", f"odd-{place}")
        record = f'{{"cpu": {number}, "memory_bytes": {number}}}'.encode()
        await served.registry.register(f"{membership.WORKERS}odd-{place}", record, ttl_seconds=60)
    operator = await served.client(await served.key(3))
    workers = {worker.worker_id: worker for worker in (await operator.fleet.list_workers()).workers}
    assert {worker: (said.cpu, said.memory_bytes, said.registered) for worker, said in workers.items()} == {
        f"odd-{place}": (-1.0, -1, True) for place in range(len(numbers))
    }


@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"[" * 16_000, b"[1]", b'"x"', b'{"a":' * 3_000], ids=["empty", "bytes", "deep", "list", "text", "cut"]
)
async def test_a_record_that_is_none_is_passed_over_with_one_warning(
    served: Coordinators, caplog: pytest.LogCaptureFixture, record: bytes
) -> None:
    database = await served.database()
    await database.execute("insert into session (worker_id, lanes, attached) values ('odd', 1, 1)")
    await served.registry.register(f"{membership.WORKERS}odd", record, ttl_seconds=60)
    operator = await served.client(await served.key(3))
    for _ in range(3):
        (worker,) = (await operator.fleet.list_workers()).workers
        assert (worker.worker_id, worker.registered) == ("odd", False)
    assert sum("passed over" in entry.getMessage() for entry in caplog.records) == 1


async def test_the_queue_and_its_metric_tell_the_age_of_the_oldest_training_that_waits(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERY_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(fleet_measures, name, 0.05)
    async with coordinators(postgres, tmp_path, metrics_listen="127.0.0.1:0") as served:
        acme, operator, database = await served.tenant("acme"), await served.client(await served.key(3)), await served.database()

        async def hours() -> int | None:
            """By the queue, once the metric says the same."""
            queue = await operator.fleet.get_queue()
            told_too = queue.oldest_wait.seconds // 3600
            await wait_until(lambda: told(metrics.OLDEST_WAIT).get((), -1) // 3600 == told_too)
            return told_too if queue.HasField("oldest_wait") else None

        assert await hours() is None
        for age in (2, 5):
            await acme.start_training(
                numbered=NumberedDocuments(uri_template="s3://test/{n}", first=0, count=10), training_task_id=f"{age}"
            )
            await database.execute("update training set created_at = now() - $1::int * interval '1 hour' where task_id = $2", age, f"{age}")
        assert await hours() == 5
        await acme.pause("5")
        assert await hours() == 2, "what is paused waits for its tenant"
        queue = await operator.fleet.get_queue()
        assert (queue.pending_shards, queue.paused_shards) == (2, 1)
        assert [(of.pending_shards, of.paused_shards) for of in queue.tenants] == [(2, 1)]
        await database.execute(
            "update shard set not_before = now() + interval '1 day' from training where task_id = '2' and training = training.id"
        )
        assert await hours() is None, "what came back with a delay is not to be granted yet"
        await acme.resume("5")
        assert await hours() == 5
