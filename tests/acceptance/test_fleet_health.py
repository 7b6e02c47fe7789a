"""Workers that are taken out of work on real RabbitMQ, etcd and Postgres: by an operator, and for their health."""

from __future__ import annotations

import collections

import pytest

import doctrain
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.tenants import PROCESSOR, start, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]


def numbered(count: int, milliseconds: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=count)


async def shown(operator: doctrain.AsyncClient, name: str) -> fleet_pb2.Worker:
    """The newest session of a worker."""
    return [one for one in (await operator.fleet.list_workers()).workers if one.worker_id == name][-1]


async def test_a_worker_is_drained_in_the_middle_of_its_shards_and_nothing_is_repeated(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=2)
    operator = doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key)
    async with operator, await tenant(real_mesh, "acme", "paid") as client:
        started = await client.start_training(numbered=numbered(400, 100))
        await wait_until(lambda: any(event["worker"] == "worker-1" for event in real_mesh.executions()), 30)
        await operator.fleet.drain_worker("worker-1", reason="a test", within_seconds=60)
        await wait_until(lambda: "takes no new shards" in real_mesh.parts["worker-1"].log.read_text(), 30)

        async def empty() -> bool:
            one = await shown(operator, "worker-1")
            return not (one.lanes_in_use or one.slots_in_use)

        await wait_until(empty, 30)
        drained = len(real_mesh.executions())
        ended = await client.wait(started.training.training_task_id)
    assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, 400)
    executions = real_mesh.executions()
    times = collections.Counter(event["ordinal"] for event in executions if event["event"] == "start")
    assert set(times.values()) == {1}, "what ran has ended in time, and what had not started ran elsewhere"
    assert drained < len(executions)
    assert {event["worker"] for event in executions[drained:]} == {"worker-2"}


async def test_a_worker_whose_main_process_is_late_is_out_of_work_and_comes_back(real_mesh: Mesh) -> None:
    health = {"DOCTRAIN_HEALTH_LOOP_LAG_SECONDS": "0.3", "DOCTRAIN_HEALTH_ILL_SECONDS": "0", "DOCTRAIN_HEALTH_WELL_SECONDS": "1"}
    await real_mesh.coordinator("coordinator-1", **PROCESSOR, **health)
    await real_mesh.worker("late", DOCTRAIN_PROCESSOR="slow_processor:blocking", DOCTRAIN_LANES="1")
    operator = doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key)
    async with operator, await tenant(real_mesh, "acme", "free") as client:
        first = await client.start_training(numbered=numbered(20, 600))
        await wait_until(lambda: len(real_mesh.executions()) > 0, 30)
        await real_mesh.worker("well", **PROCESSOR)

        async def is_unfit() -> bool:
            one = await shown(operator, "late")
            return one.health == fleet_pb2.WORKER_HEALTH_UNFIT and "late; more than 0.3 s is too much" in one.health_reason

        await wait_until(is_unfit, 60)
        assert (await shown(operator, "well")).health == fleet_pb2.WORKER_HEALTH_FIT

        async def is_fit() -> bool:
            return (await shown(operator, "late")).health == fleet_pb2.WORKER_HEALTH_FIT

        assert (await client.wait(first.training.training_task_id)).completed == 20
        await wait_until(is_fit, 60)
