"""StartTraining without RabbitMQ or etcd is answered, and the work waits or goes on; without Postgres it is told when to come again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

import doctrain
from doctrain import errors
from doctrain.v1 import training_pb2 as pb
from testkit.etcd import EtcdServer
from testkit.mesh import Mesh, mesh
from testkit.postgres import PostgresServer
from testkit.rabbitmq import RabbitMQServer
from testkit.tenants import PROCESSOR, start, tenant, tenant_key
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

COUNT = 40
NUMBERED = pb.NumberedDocuments(uri_template="s3://test/10/{n}", first=0, count=COUNT)


async def test_without_rabbitmq_it_is_answered_and_the_work_waits_for_it(
    own_rabbitmq: RabbitMQServer, environment: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    async with own_rabbitmq.place() as place:
        settings = {"DOCTRAIN_BROKER_URL": place.url, "DOCTRAIN_BROKER_QUEUE": place.queue, "DOCTRAIN_DATABASE_URL": postgres}
        async with mesh(tmp_path, {**environment, **settings}) as running:
            await start(running, workers=1)
            async with await tenant(running, "acme", "paid") as client:
                await own_rabbitmq.settle()
                own_rabbitmq.kill()
                started = await client.start_training(numbered=NUMBERED)
                name = started.training.training_task_id

                async def told() -> bool:
                    return any("message broker" in hold.message for hold in (await client.explain(name)).holds)

                await wait_until(told, 60)
                assert (await client.get_training(name)).state == pb.TRAINING_STATE_QUEUED
                await own_rabbitmq.restart()
                await completed(client, name)


async def test_without_etcd_it_is_answered_and_the_work_is_done(own_etcd: EtcdServer, real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1)
    async with await tenant(real_mesh, "acme", "paid") as client:
        own_etcd.kill()
        started = await client.start_training(numbered=NUMBERED)
        await completed(client, started.training.training_task_id)
        assert not own_etcd.running


async def test_without_postgres_it_says_when_to_try_again_and_who_is_patient_gets_it(
    own_postgres: PostgresServer, environment: dict[str, str], tmp_path: Path
) -> None:
    async with own_postgres.database() as url, mesh(tmp_path, {**environment, "DOCTRAIN_DATABASE_URL": url}) as running:
        await running.coordinator("coordinator", **PROCESSOR)
        await running.worker("worker", **PROCESSOR)
        key = await tenant_key(running, "acme", "paid")
        async with doctrain.AsyncClient(running.addresses, api_key=key) as client:
            await client.get_limits()
            own_postgres.kill()
            patient = asyncio.create_task(client.start_training(numbered=NUMBERED))
            async with doctrain.AsyncClient(running.addresses, api_key=key) as newcomer:
                with pytest.raises(errors.UnavailableError) as away:
                    await newcomer.start_training(numbered=NUMBERED)
            assert (away.value.status, away.value.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
            assert away.value.retry_after_seconds
            assert not patient.done()
            await own_postgres.restart()
            await completed(client, (await patient).training.training_task_id)


async def completed(client: doctrain.AsyncClient, name: str) -> None:
    async with asyncio.timeout(100):
        ended = await client.wait(name)
    assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, COUNT)
