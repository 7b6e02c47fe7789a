"""Documents at once on real RabbitMQ, etcd and Postgres: plans burst on an idle fleet, and go back under strain, while shards run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.executions import most_at_once, running
from testkit.mesh import Mesh
from testkit.otlp import receiver
from testkit.scraping import scrape, url_of
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]
SLOTS, BURST = 5, 15
METRICS = {"DOCTRAIN_METRICS_LISTEN": "127.0.0.1:0"}


async def test_a_plan_bursts_while_the_fleet_is_idle_and_a_new_leader_goes_on_from_there(real_mesh: Mesh) -> None:
    first = await real_mesh.coordinator("coordinator-1", **PROCESSOR, DOCTRAIN_CONCURRENCY_WAIT_SECONDS="0")
    await real_mesh.worker("worker-1", **PROCESSOR)
    async with await tenant(real_mesh, "acme", "free") as client:
        operator = doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key)
        async with operator:
            await operator.fleet.put_plan("team", slots=SLOTS, burst_slots=BURST)
            await operator.fleet.update_tenant("acme", plan="team")
            numbered = pb.NumberedDocuments(uri_template="s3://test/200/{n}", first=0, count=20_000)
            await client.start_training(numbered=numbered, training_task_id="t")
            await wait_until(lambda: most_at_once(real_mesh.executions()) == SLOTS, 30)
            await wait_until(lambda: most_at_once(real_mesh.executions()) == BURST, 90)
    # No commit is as quick as that, so to this one it is all too much.
    await real_mesh.coordinator("coordinator-2", **PROCESSOR, DOCTRAIN_CONCURRENCY_LATENCY_SECONDS="0.001")
    assert await first.stop() == 0
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key) as operator:

        async def taken_back() -> bool:
            (team,) = [plan for plan in (await operator.fleet.get_concurrency()).plans if plan.plan == "team"]
            return team.current_slots == SLOTS

        await wait_until(taken_back, 90)
        decisions = [(one.slots_before, one.slots_after) for one in (await operator.fleet.get_concurrency()).decisions][::-1]
        assert decisions == [(5, 10), (10, 15), (15, 10), (10, 7), (7, 6), (6, 5)]
    assert most_at_once(real_mesh.executions()) == BURST


@asynccontextmanager
async def nothing_is_recorded(postgres: str) -> AsyncIterator[None]:
    """As if a disk took no more: commits of results wait, and whatever only reads goes on."""
    database = await asyncpg.connect(postgres)
    try:
        async with database.transaction():
            await database.execute("lock table document in share mode")
            yield
    finally:
        await database.close()


def traced(spans: Sequence[Span]) -> list[tuple[int, int, str]]:
    """The decisions that were traced: documents at once before and after, and why."""
    told = [{fact.key: fact.value for fact in span.attributes} for span in spans if span.name == "concurrency decision"]
    slots = [(one["doctrain.slots_before"].int_value, one["doctrain.slots_after"].int_value) for one in told]
    return [(*change, one["doctrain.reason"].string_value) for change, one in zip(slots, told, strict=True)]


async def test_a_running_shard_gets_wider_while_the_fleet_is_idle_and_narrower_under_strain_and_goes_on(
    real_mesh: Mesh, tmp_path: Path, postgres: str
) -> None:
    long, short = range(10), 10
    gates = tmp_path / "gates"
    gates.mkdir()

    def end(*ordinals: int) -> None:
        for ordinal in ordinals:
            (gates / str(ordinal)).touch()

    calm = {"DOCTRAIN_CONCURRENCY_LATENCY_SECONDS": "2", "DOCTRAIN_HEALTH_LOOP_LAG_SECONDS": "30"}
    async with receiver() as collector:
        told = {"DOCTRAIN_OTLP_ENDPOINT": collector.endpoint, "DOCTRAIN_CONCURRENCY_WAIT_SECONDS": "0"}
        coordinator = await real_mesh.coordinator("coordinator-1", **calm, **told, **METRICS)
        gated = {"DOCTRAIN_PROCESSOR": "slow_processor:gated", "GATES": str(gates)}
        worker = await real_mesh.worker("worker-1", **gated, **METRICS)
        operator = doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key)
        async with operator, await tenant(real_mesh, "acme", "free") as client:
            await operator.fleet.put_plan("team", slots=2, burst_slots=4)
            await operator.fleet.update_tenant("acme", plan="team")

            async def allowed() -> int:
                (team,) = [plan for plan in (await operator.fleet.get_concurrency()).plans if plan.plan == "team"]
                return team.allowed_slots

            # A shard of ten, and one of a single document that waits for a slot.
            numbered = pb.NumberedDocuments(uri_template="s3://test/{n}", first=0, count=short + 1)
            await client.start_training(numbered=numbered, training_task_id="t")
            await wait_until(lambda: running(real_mesh.executions()) == {0, 1}, 30)
            await wait_until(lambda: running(real_mesh.executions()) == {0, 1, 2, short}, 90)
            end(short)
            await wait_until(lambda: running(real_mesh.executions()) == {0, 1, 2, 3}, 30)

            async with nothing_is_recorded(postgres):
                end(0)

                async def taken_back() -> bool:
                    return await allowed() == 2

                await wait_until(taken_back, 90)

            async def heard() -> bool:
                return (await scrape(url_of(worker))).total("doctrain_worker_slots") == 2

            await wait_until(heard, 30, "the worker has heard of it")
            end(1, 2)
            await wait_until(lambda: running(real_mesh.executions()) == {3, 4}, 30)
            end(*long)
            assert (await client.wait("t")).completed == short + 1
            measured = await scrape(url_of(coordinator))
            found = (await operator.fleet.get_concurrency()).decisions
            decisions = [(one.slots_before, one.slots_after, one.reason) for one in reversed(found)]

        await wait_until(lambda: traced(collector.spans) == decisions, 20, "the collector hears of each decision")
    assert [decision[:2] for decision in decisions] == [(2, 4), (4, 3), (3, 2)]
    assert [measured.total("doctrain_concurrency_decisions_total", doctrain_direction=way) for way in ("up", "down")] == [1, 2]
    assert all(measured.total("doctrain_resizes_total", doctrain_direction=way) >= 1 for way in ("wider", "narrower"))
    assert "the workers bear more" in decisions[0][2]
    assert all("A commit of results takes" in reason for _, _, reason in decisions[1:])
    assert most_at_once(real_mesh.executions(), range(5, 10)) <= 2
    starts = [(event["ordinal"], event["attempt"]) for event in real_mesh.executions() if event["event"] == "start"]
    assert sorted(starts) == [(ordinal, 1) for ordinal in range(short + 1)], "each shard goes on under its grant"
