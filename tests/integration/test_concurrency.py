"""Documents at once: what the leader lets plans allow, on a real Postgres with a worker that says what the test wants."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import doctrain
from doctrain.fleet import AsyncFleet
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.core import concurrency as policy
from doctrain_coordinator.dispatch import concurrency as control
from doctrain_mesh.registry import membership
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until
from testkit.worker import Documents, worker

pytestmark = [pytest.mark.timeout(90)]
WELL = {"cpu": 0.1, "memory_share": 0.2, "loop_lag_seconds": 0.0}


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    """A controller in a hurry."""
    monkeypatch.setattr(control, "LOOK_SECONDS", 0.05)
    for name in ("RAISE_SECONDS", "STRAIN_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(policy, name, 0.2)
    async with coordinators(postgres, tmp_path, beat_seconds=0.1, concurrency_wait_seconds=0.0) as running:
        yield running


@pytest.fixture
async def fleet(served: Coordinators) -> AsyncFleet:
    return (await served.client(await served.key(3))).fleet


@pytest.fixture
async def database(served: Coordinators) -> asyncpg.Connection[Any]:
    return await served.database()


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=count)


async def allowed(fleet: AsyncFleet, plan: str = "team") -> int:
    (found,) = [one for one in (await fleet.get_concurrency()).plans if one.plan == plan]
    return found.allowed_slots


async def test_an_idle_fleet_lets_a_plan_burst_and_a_loaded_one_takes_it_back(
    served: Coordinators, acme: doctrain.AsyncClient, fleet: AsyncFleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await fleet.put_plan("team", slots=4, burst_slots=16)
    await fleet.update_tenant("acme", plan="team")
    documents, name = Documents(), "only"
    key, address = await served.key(2), served.running[0].address
    async with worker(served.broker, documents, address, name=name, lanes=6, worker_key=key, registry=served.registry) as one:

        async def says(**load: float) -> None:
            record = json.dumps({"session": one.session.id, **load}).encode()
            await served.registry.register(membership.WORKERS + name, record, 60)

        await says()
        await acme.start_training(numbered=numbered(2000), training_task_id="t")
        await wait_until(lambda: len(documents.running) == 4)
        await says(**WELL)
        await wait_until(lambda: len(documents.running) == 16, 30)
        assert (
            await acme.explain("t")
        ).plan_slots_reason == "The plan guarantees 4; more are allowed while the machines bear it, up to 16."
        await says(**{**WELL, "cpu": 0.99})

        async def at_guarantee() -> bool:
            return await allowed(fleet) == 4

        await wait_until(at_guarantee, 30)
        decisions = (await fleet.get_concurrency()).decisions
        assert [(one.slots_before, one.slots_after) for one in decisions[:4]] == [(5, 4), (7, 5), (10, 7), (16, 10)]
        assert {one.reason for one in decisions[:4]} == {"The workers' processors are 99% in use; more than 90% is too much."}
        assert decisions[-1].slots_before == 4
        assert "Plan team allows 10 documents at once instead of 16: The workers' processors are 99% in use" in caplog.text
        documents.end_all()
        assert (await acme.wait("t")).completed == 2000


async def test_work_that_went_leaves_the_guarantee_and_a_pin_is_left_alone(
    served: Coordinators, acme: doctrain.AsyncClient, fleet: AsyncFleet, database: asyncpg.Connection[Any]
) -> None:
    for plan in ("team", "pinned"):
        await fleet.put_plan(plan, slots=4, burst_slots=8)
    await fleet.pin_concurrency(6, plan="pinned")
    await database.execute("update plan set allowed = 8 where name in ('team', 'pinned')")

    async def at_guarantee() -> bool:
        return await allowed(fleet) == 4

    await wait_until(at_guarantee)
    decisions = (await fleet.get_concurrency(decisions=1)).decisions
    assert [(one.plan, one.slots_before, one.slots_after) for one in decisions] == [("team", 8, 4)]
    assert await allowed(fleet, "pinned") == 8


async def test_no_more_than_a_thousand_decisions_are_kept(
    served: Coordinators, fleet: AsyncFleet, database: asyncpg.Connection[Any]
) -> None:
    await database.execute(
        "insert into concurrency_decision (plan, slots_before, slots_after, reason) select 'old', 1, 2, '' from generate_series(1, 1500)"
    )
    await fleet.put_plan("team", slots=4, burst_slots=8)
    await database.execute("update plan set allowed = 5 where name = 'team'")
    await wait_until(lambda: database.fetchval("select count(*) = 1000 from concurrency_decision"))
    assert (await fleet.get_concurrency()).decisions[0].plan == "team"


async def test_of_whom_plans_hear_is_who_waits_at_their_limit_or_misses_what_is_guaranteed(
    served: Coordinators, fleet: AsyncFleet, database: asyncpg.Connection[Any]
) -> None:
    await fleet.put_plan("team", slots=4, burst_slots=8)
    for tenant in ("full", "short", "capped", "pinned", "idle"):
        await (await served.tenant(tenant, "team")).start_training(numbered=numbered(50), training_task_id="t")
    await fleet.cap_concurrency(1, tenant_id="capped")
    await fleet.pin_concurrency(7, tenant_id="pinned")
    for tenant, width in {"full": 4, "short": 3, "capped": 1, "pinned": 7}.items():
        await database.execute(
            "update shard set state = 1, width = $2 where id = (select min(shard.id) from shard join tenant on tenant.id = shard.tenant "
            "where tenant.name = $1)",
            *(tenant, width),
        )
    await database.execute("update shard set state = 5 from tenant where tenant.id = shard.tenant and tenant.name = 'idle'")
    found = await database.fetchrow(control.SQL["demand"])
    assert found is not None
    waiting = await database.fetchval(
        "select count(*) from shard join tenant on tenant.id = shard.tenant where tenant.name = 'full' and shard.state = 0"
    )
    told = {name: found[name] for name in ("plan", "deprived", "held_back", "most_used", "backlog")}
    assert told == {"plan": "team", "deprived": 1, "held_back": 1, "most_used": 4, "backlog": waiting}
    assert 0 < found["wait"] < 60


async def test_a_look_walks_indexes_however_many_shards_there_are(served: Coordinators, database: asyncpg.Connection[Any]) -> None:
    await database.execute(control.SQL["by_index"].replace("local ", ""))
    for statement in ("demand", "busy"):
        plan = "\n".join(row[0] for row in await database.fetch(f"explain {control.SQL[statement]}"))
        assert "Seq Scan on shard" not in plan, plan
