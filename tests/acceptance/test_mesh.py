"""The promises that a user relies on, over two coordinators and three workers on real RabbitMQ, etcd and Postgres."""

from __future__ import annotations

import asyncio
import collections
import signal
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh, Part
from testkit.proxy import proxy
from testkit.tenants import start, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes at work")]


UNREPORTED_SECONDS = 1.0
"""What ended earlier than this before a kill was recorded: a report batch, its commit and its answer take tens of milliseconds."""


def numbered(count: int, milliseconds: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=count)


def peaks(executions: list[dict[str, Any]]) -> dict[str, int]:
    """The most documents at once of each tenant, by the workers' own logs."""
    running: collections.Counter[str] = collections.Counter()
    most: dict[str, int] = {}
    for event in executions:
        running[event["tenant_id"]] += 1 if event["event"] == "start" else -1
        most[event["tenant_id"]] = max(most.get(event["tenant_id"], 0), running[event["tenant_id"]])
    return most


def times_started(real_mesh: Mesh, training: str) -> collections.Counter[int]:
    return collections.Counter(
        int(event["ordinal"]) for event in real_mesh.executions() if event["event"] == "start" and event["training_task_id"] == training
    )


def main_process(part: Part) -> psutil.Process:
    """The main process below a worker's guardian."""
    return next(p for p in psutil.Process(part.process.pid).children(recursive=True) if "worker-main" in p.cmdline())


async def test_ten_tenants_at_once_keep_their_plans(real_mesh: Mesh, postgres: str) -> None:
    await start(real_mesh)
    plans = ["free" if n % 2 else "paid" for n in range(10)]
    clients = [await tenant(real_mesh, f"tenant-{n}", plan) for n, plan in enumerate(plans)]

    async def train(client: doctrain.AsyncClient) -> pb.Training:
        async with client:
            started = await client.start_training(numbered=numbered(200, 10))
            return await client.wait(started.training.training_task_id)

    ended = await asyncio.gather(*(train(client) for client in clients))
    assert [training.state for training in ended] == [pb.TRAINING_STATE_COMPLETED] * 10
    assert [training.completed for training in ended] == [200] * 10
    limits = {f"tenant-{n}": 5 if plan == "free" else 30 for n, plan in enumerate(plans)}
    most = peaks(real_mesh.executions())
    assert most.keys() == limits.keys()
    assert all(most[name] <= limit for name, limit in limits.items()), most
    assert all(set(times_started(real_mesh, training.training_task_id).values()) == {1} for training in ended)
    connection = await asyncpg.connect(postgres)
    try:
        assert await connection.fetchval("select count(*) from document where state = 1") == 2000
    finally:
        await connection.close()


async def test_a_killed_workers_shards_go_on_elsewhere_and_nothing_is_recorded_twice(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=2)
    async with await tenant(real_mesh, "acme", "paid") as client:
        started = await client.start_training(numbered=numbered(600, 50))
        name = started.training.training_task_id
        await wait_until(lambda: len(times_started(real_mesh, name)) > 60, 30)
        victim = real_mesh.parts["worker-1"]
        main_process(victim).send_signal(signal.SIGKILL)
        killed = time.monotonic()
        ended = await client.wait(name)
    assert ended.state == pb.TRAINING_STATE_COMPLETED
    assert ended.completed == 600
    again = {ordinal for ordinal, times in times_started(real_mesh, name).items() if times > 1}
    before = [event for event in real_mesh.executions() if event["worker"] == "worker-1" and event["monotonic"] <= killed]
    begun = {event["ordinal"] for event in before if event["event"] == "start"}
    ended_at = {event["ordinal"]: event["monotonic"] for event in before if event["event"] == "end"}
    in_flight = begun - ended_at.keys()
    assert in_flight
    assert len(in_flight) <= 30
    assert in_flight <= again <= begun
    assert all(killed - ended_at[ordinal] < UNREPORTED_SECONDS for ordinal in again - in_flight)


async def test_a_watch_survives_the_death_of_its_coordinator(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1)
    async with await tenant(real_mesh, "acme", "paid") as watcher:
        started = await watcher.start_training(numbered=numbered(400, 100))
        counts: list[int] = []
        killed = False
        last = started.training
        async for update in watcher.watch(started.training.training_task_id):
            last = update.training
            counts.append(last.completed)
            if last.completed > 20 and not killed:
                killed = True
                real_mesh.parts["coordinator-1"].kill()
    assert killed
    assert counts == sorted(counts)
    assert last.state == pb.TRAINING_STATE_COMPLETED
    assert last.completed == 400


async def test_a_cut_broker_connection_repeats_nothing(real_mesh: Mesh) -> None:
    broker = urlsplit(real_mesh.environment["DOCTRAIN_BROKER_URL"])
    async with proxy(broker.hostname or "", broker.port or 5672) as between:
        netloc = broker.netloc.replace(f":{broker.port}", f":{between.port}")
        through = urlunsplit(broker._replace(netloc=netloc))
        await start(real_mesh, workers=2, settings={"DOCTRAIN_BROKER_URL": through})
        async with await tenant(real_mesh, "acme", "paid") as client:
            started = await client.start_training(numbered=numbered(300, 100))
            name = started.training.training_task_id
            await wait_until(lambda: len(times_started(real_mesh, name)) > 30, 30)
            assert between.cut() >= 2
            ended = await client.wait(name)
    assert ended.completed == 300
    assert set(times_started(real_mesh, name).values()) == {1}
