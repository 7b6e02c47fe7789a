"""Documents at once: what plans guarantee, and what operators order, on a real Postgres."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

import doctrain
from doctrain.fleet import AsyncFleet
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.coordinator import Coordinators, refused
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(90)]


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


@pytest.fixture
async def database(served: Coordinators) -> asyncpg.Connection[Any]:
    return await served.database()


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=count)


async def limit(database: asyncpg.Connection[Any], tenant: str) -> int:
    found: int = await database.fetchval(
        "select slots from tenant_limit join tenant on tenant.id = tenant_limit.tenant where tenant.name = $1", tenant
    )
    return found


async def test_a_plan_bursts_no_further_than_it_says_and_keeps_what_is_allowed_over_a_change(
    fleet: AsyncFleet, database: asyncpg.Connection[Any]
) -> None:
    assert (await fleet.put_plan("plain", slots=4)).burst_slots == 4
    for wrong in (3, 10_001, -1):
        error = await refused(fleet.put_plan("team", slots=4, burst_slots=wrong))
        assert [violation.field for violation in error.violations] == ["plan.burst_slots"]
    await fleet.put_plan("team", slots=5, burst_slots=20)
    await fleet.create_tenant("acme", plan="team")
    assert await limit(database, "acme") == 5
    await database.execute("update plan set allowed = 12 where name = 'team'")
    for (slots, burst), now in {(5, 20): 12, (8, 20): 15, (8, 10): 10, (2, 10): 4, (2, 0): 2}.items():
        await fleet.put_plan("team", slots=slots, burst_slots=burst)
        assert await limit(database, "acme") == now


async def test_orders_hold_for_whom_they_are_until_they_are_cleared(fleet: AsyncFleet, database: asyncpg.Connection[Any]) -> None:
    await fleet.put_plan("team", slots=5, burst_slots=20)
    for tenant in ("acme", "other"):
        await fleet.create_tenant(tenant, plan="team")
    await database.execute("update plan set allowed = 12 where name = 'team'")

    async def limits() -> tuple[int, int]:
        return await limit(database, "acme"), await limit(database, "other")

    await fleet.cap_concurrency(9, plan="team", reason="a slow disk")
    assert await limits() == (9, 9)
    await fleet.cap_concurrency(15, plan="team")
    assert await limits() == (12, 12)
    await fleet.cap_concurrency(3, plan="team")
    await fleet.pin_concurrency(40, tenant_id="acme")
    assert await limits() == (40, 3)
    await fleet.pin_concurrency(30, plan="team")
    assert await limits() == (40, 30)
    await fleet.cap_concurrency(2, tenant_id="acme")
    assert await limits() == (2, 30)
    for _ in range(2):
        await fleet.clear_concurrency(plan="team")
    assert await limits() == (2, 12)
    present = await fleet.get_concurrency()
    team = next(plan for plan in present.plans if plan.plan == "team")
    assert (team.slots, team.burst_slots, team.allowed_slots, team.current_slots, team.HasField("order")) == (5, 20, 12, 12, False)
    (order,) = present.tenant_orders
    assert (order.subject.tenant_id, order.kind, order.slots) == ("acme", fleet_pb2.CONCURRENCY_ORDER_KIND_CAP, 2)
    assert order.key_id > 0
    await fleet.clear_concurrency(tenant_id="acme")
    assert await limits() == (12, 12)
    await fleet.pin_concurrency(1, plan="team", reason="a test")
    (team,) = [plan for plan in (await fleet.get_concurrency()).plans if plan.plan == "team"]
    assert (team.current_slots, team.order.kind, team.order.reason) == (1, fleet_pb2.CONCURRENCY_ORDER_KIND_PIN, "a test")


async def test_orders_are_in_the_audit_log_and_bad_ones_are_refused(fleet: AsyncFleet) -> None:
    await fleet.create_tenant("acme", plan="free")
    await fleet.cap_concurrency(2, tenant_id="acme", reason="a slow disk")
    await fleet.clear_concurrency(tenant_id="acme")
    assert (await refused(fleet.pin_concurrency(2, plan="nothing"))).reason == "PLAN_NOT_FOUND"
    assert (await refused(fleet.clear_concurrency(tenant_id="nobody"))).reason == "TENANT_NOT_FOUND"
    for slots in (0, 10_001):
        assert (await refused(fleet.cap_concurrency(slots, plan="free"))).violations[0].field == "slots"
    assert (await refused(fleet.cap_concurrency(1, plan="free", reason="\n"))).violations[0].field == "reason"
    assert (await refused(fleet.cap_concurrency(1, plan="?"))).violations[0].field == "subject.plan"
    said = [(entry.tenant_id, entry.subject, entry.outcome, entry.sentence) async for entry in fleet.list_audit_log(tenant_id="acme")]
    assert said[:2] == [
        ("acme", "tenant acme", "OK", "The concurrency of tenant acme is as its plan and the machines allow again"),
        ("acme", "tenant acme", "OK", "The concurrency of tenant acme was capped at 2: a slow disk"),
    ]


async def test_an_order_and_a_changed_plan_act_on_what_waits_at_once_and_are_explained(
    served: Coordinators, acme: doctrain.AsyncClient, fleet: AsyncFleet
) -> None:
    await fleet.put_plan("team", slots=2, burst_slots=9)
    await fleet.update_tenant("acme", plan="team")
    documents = Documents()
    async with worker(served.broker, documents, served.running[0].address, lanes=6, worker_key=await served.key(2)):
        await acme.start_training(numbered=numbered(500), training_task_id="t")
        await wait_until(lambda: len(documents.running) == 2)
        explained = await acme.explain("t")
        assert (explained.plan_slots, explained.plan_slots_reason) == (
            2,
            "The plan guarantees them; up to 9 are allowed while work waits and the machines bear it.",
        )
        await fleet.pin_concurrency(6, tenant_id="acme")
        await wait_until(lambda: len(documents.running) == 6)
        explained = await acme.explain("t")
        assert (explained.plan_slots, explained.plan_slots_reason) == (6, "An operator of the mesh set that; the plan itself allows 2 now.")
        assert explained.holds[0].message == "An operator of the mesh allows 6 documents at once, all in use by this training."
        assert explained.holds[0].advice == "Ask the operator, who set that."
        assert [(tenant.slots_in_use, tenant.slots) for tenant in (await fleet.get_queue()).tenants] == [(6, 6)]
        await fleet.clear_concurrency(tenant_id="acme")
        await fleet.put_plan("team", slots=8)
        await wait_until(lambda: len(documents.running) == 8)
        assert (await acme.explain("t")).plan_slots_reason == ""
        documents.end_all()
        assert (await acme.wait("t")).completed == 500
