"""An operator changes a plan, and what runs of its tenants follows within seconds: counted from the workers' own logs."""

from __future__ import annotations

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.executions import most_at_once, running
from testkit.mesh import Mesh
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

SECONDS = 3
PLAN = "changing"


async def test_what_runs_follows_its_plan_up_and_down_within_seconds(real_mesh: Mesh) -> None:
    await real_mesh.coordinator("coordinator-1", **PROCESSOR)
    await real_mesh.worker("worker-1", DOCTRAIN_LANES="1", **PROCESSOR)
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key) as operator:

        async def allow(slots: int) -> None:
            await operator.fleet.put_plan(PLAN, slots=slots, open_trainings=10)

        await allow(2)
        async with await tenant(real_mesh, "acme", PLAN) as client:
            documents = pb.NumberedDocuments(uri_template=f"s3://test/{SECONDS * 1000}/{{n}}", first=0, count=10)
            training = (await client.start_training(numbered=documents)).training.training_task_id
            await wait_until(lambda: len(running(real_mesh.executions())) == 2)
            await allow(5)
            await wait_until(lambda: len(running(real_mesh.executions())) == 5, timeout=SECONDS + 5)
            started = {event["ordinal"] for event in real_mesh.executions() if event["event"] == "start"}
            assert len(started) < 10
            await allow(1)
            ended = await client.wait(training)
            assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, 10)
    last = {8, 9}
    assert started.isdisjoint(last)
    assert most_at_once(real_mesh.executions()) == 5
    assert most_at_once(real_mesh.executions(), last) == 1
    starts = [event["ordinal"] for event in real_mesh.executions() if event["event"] == "start"]
    assert sorted(starts) == list(range(10)), "no document is ended for it"
