"""Documents at once on real RabbitMQ, etcd and Postgres: a plan bursts on an idle fleet, and the next leader takes it back under strain."""

from __future__ import annotations

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("acceptance")]
SLOTS, BURST = 5, 15


def most_at_once(real_mesh: Mesh) -> int:
    """By the worker's own log."""
    running, most = 0, 0
    for event in real_mesh.executions():
        running += 1 if event["event"] == "start" else -1
        most = max(most, running)
    return most


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
            await wait_until(lambda: most_at_once(real_mesh) == SLOTS, 30)
            await wait_until(lambda: most_at_once(real_mesh) == BURST, 90)
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
    assert most_at_once(real_mesh) == BURST
