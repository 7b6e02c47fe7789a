"""What operators see of a mesh in Prometheus: counts that add up over the processes, and the fleet as its leader sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import asyncpg
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.executions import running
from testkit.mesh import Mesh
from testkit.proxy import Proxy, proxy
from testkit.scraping import Scrape, scrape, url_of
from testkit.tenants import start, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("meshes at work")]

METRICS = {"DOCTRAIN_METRICS_LISTEN": "127.0.0.1:0"}
STAGES = {"fetch", "detect", "extract", "chunk", "embed", "index"}


async def scraped(real_mesh: Mesh, role: str) -> list[Scrape]:
    return [await scrape(url_of(part)) for name, part in real_mesh.parts.items() if name.startswith(role)]


async def total(real_mesh: Mesh, role: str, name: str, **labels: str) -> float:
    """Over all processes of a role."""
    return sum(one.total(name, **labels) for one in await scraped(real_mesh, role))


async def until(real_mesh: Mesh, role: str, least: float, name: str, **labels: str) -> None:
    """Waits for a sum of at least that."""

    async def told() -> bool:
        return await total(real_mesh, role, name, **labels) >= least

    await wait_until(told, 40, f"{name} {labels} is {least} or more")


def lasting(milliseconds: int, count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=count)


async def test_documents_calls_and_stages_are_counted_once_over_all_processes(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1, settings={**METRICS, "DOCTRAIN_PROCESSOR": ""})
    async with await tenant(real_mesh, "acme", "free") as client:
        documents = [pb.DocumentInput(document_id=f"note-{n}", content=f"# Note {n}\n\nThe tide is high.".encode()) for n in range(3)]
        program = pb.DocumentInput(document_id="program", content=b"\x7fELF\x02\x01")
        for sent in (documents, documents, [program]):
            started = await client.start_training(documents=sent)
            await client.wait(started.training.training_task_id)
        await client.upload(b"# Uploaded")
    await _put_aside(real_mesh)
    coordinators, (worker,) = await scraped(real_mesh, "coordinator"), await scraped(real_mesh, "worker")

    def total(name: str, **labels: str) -> float:
        return sum(one.total(name, **labels) for one in coordinators)

    for counts, name in ((total, "doctrain_documents_total"), (worker.total, "doctrain_worker_documents_total")):
        assert counts(name, doctrain_outcome="trained") == 3
        assert counts(name, doctrain_outcome="unchanged") == 3
        assert counts(name, doctrain_outcome="failed", doctrain_error_class="permanent") == 1
        assert counts(name) == 7
    assert total("doctrain_trainings_accepted_total") == total("doctrain_trainings_ended_total") == 3
    assert total("doctrain_calls_duration_seconds_count", rpc_method="StartTraining", rpc_response_status_code="OK") == 3
    assert total("doctrain_calls_duration_seconds_count", rpc_method="WatchStatus") == 0
    assert total("doctrain_begins_total", doctrain_outcome="begun") == 3
    assert total("doctrain_commit_duration_seconds_count") == total("doctrain_commit_items_count") > 0
    assert total("doctrain_uploads_size_bytes_total") == len(b"# Uploaded")
    assert total("doctrain_worker_streams") == 1
    assert {stage for stage in STAGES if worker.total("doctrain_worker_stage_duration_seconds_count", doctrain_stage=stage) >= 3} == STAGES
    assert worker.total("doctrain_worker_tries_total") == 7
    assert worker.total("doctrain_worker_deliveries_total", doctrain_kind="new") == total("doctrain_begins_total", doctrain_outcome="begun")
    assert worker.total("process_open_fds") > 0


async def _put_aside(real_mesh: Mesh) -> None:
    """A message that is no shard's."""
    async with await aio_pika.connect(real_mesh.environment["DOCTRAIN_BROKER_URL"]) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b"no shard"), real_mesh.environment["DOCTRAIN_BROKER_QUEUE"])
    await until(real_mesh, "coordinator", 1, "doctrain_dead_letters_total")
    assert await total(real_mesh, "worker", "doctrain_worker_deliveries_total", doctrain_kind="unreadable") == 1


@asynccontextmanager
async def between(real_mesh: Mesh) -> AsyncIterator[tuple[Proxy, dict[str, str]]]:
    """A network before RabbitMQ, and the setting that leads through it."""
    broker = urlsplit(real_mesh.environment["DOCTRAIN_BROKER_URL"])
    async with proxy(broker.hostname or "", broker.port or 5672) as network:
        netloc = broker.netloc.replace(f":{broker.port}", f":{network.port}")
        yield network, {"DOCTRAIN_BROKER_URL": urlunsplit(broker._replace(netloc=netloc))}


async def test_the_leader_alone_tells_of_the_fleet(real_mesh: Mesh) -> None:
    async with between(real_mesh) as (network, through):
        await start(real_mesh, workers=1, settings={**METRICS, **through})
        await until(real_mesh, "coordinator", 1, "doctrain_sessions", doctrain_state="live")
        await _only_the_leader(real_mesh)
        await _more_than_all_lanes(real_mesh, network)
        await _leader_moves(real_mesh)


async def _only_the_leader(real_mesh: Mesh) -> None:
    coordinators = await scraped(real_mesh, "coordinator")
    assert sorted(one.total("doctrain_leading") for one in coordinators) == [0, 1]
    leader, other = sorted(coordinators, key=lambda one: -one.total("doctrain_leading"))
    assert leader.total("doctrain_lanes", doctrain_state="free") == 6
    assert leader.series("doctrain_shards", doctrain_state="pending") == [0]
    assert leader.series("doctrain_broker_consumers") == [1]
    assert leader.series("doctrain_tenant_shards", doctrain_tenant_id="_other") == [0]
    for name in ("doctrain_shards", "doctrain_sessions", "doctrain_broker_messages", "doctrain_tenant_shards"):
        assert other.series(name) == []


async def _more_than_all_lanes(real_mesh: Mesh, network: Proxy) -> None:
    """A tenant has six lanes full, six shards on deck, and others that wait; nothing of it ends. Meanwhile RabbitMQ is away, and back."""
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key) as operator:
        await operator.fleet.put_plan("wide", slots=60, open_trainings=10)
        async with await tenant(real_mesh, "acme", "wide") as client:
            network.rule().stall()
            started = await client.start_training(numbered=lasting(600_000, 10))
            await until(real_mesh, "coordinator", 1, "doctrain_publisher_queue")
            network.rule().heal()
            await wait_until(lambda: len(running(real_mesh.executions())) == 5, 30)
            assert network.cut() >= 2
            await until(real_mesh, "worker", 1, "doctrain_worker_deliveries_total", doctrain_kind="again")
            await client.start_training(numbered=lasting(600_000, 490))

            async def granted() -> bool:
                queue = await operator.fleet.get_queue()
                return (queue.running_shards, queue.dispatched_shards) == (6, 6)

            await wait_until(granted, 40, "what the lanes and the deck have room for is granted")
            updates = client.watch(started.training.training_task_id)
            await anext(updates)
            assert await total(real_mesh, "coordinator", "doctrain_watchers") == 1
            await updates.aclose()

            async def unwatched() -> bool:
                return await total(real_mesh, "coordinator", "doctrain_watchers") == 0

            await wait_until(unwatched, 20, "nobody watches any more")
    await until(real_mesh, "worker", 30, "doctrain_worker_slots")
    await until(real_mesh, "worker", 6, "doctrain_worker_lanes", doctrain_state="used")


async def _leader_moves(real_mesh: Mesh) -> None:
    """With its leader gone, the other one tells of the fleet."""
    leader, other = [name for name, part in real_mesh.parts.items() if name.startswith("coordinator")]
    if (await scrape(url_of(real_mesh.parts[leader]))).total("doctrain_leading") == 0:
        leader, other = other, leader
    await real_mesh.parts[leader].stop()

    async def told() -> bool:
        found = await scrape(url_of(real_mesh.parts[other]))
        return found.total("doctrain_leading") == 1 and found.total("doctrain_sessions") >= 1

    await wait_until(told, 40, "the new leader tells of the fleet")
    found = await scrape(url_of(real_mesh.parts[other]))
    assert found.series("doctrain_lanes", doctrain_state="used") == [6]
    assert found.series("doctrain_shards", doctrain_state="running") == [6]
    assert found.series("doctrain_documents_open") == [500]
    assert found.series("doctrain_tenant_slots", doctrain_tenant_id="acme") == [60]
    assert found.series("doctrain_tenant_shards", doctrain_tenant_id="acme") == found.series("doctrain_shards", doctrain_state="pending")
    assert found.total("doctrain_shards", doctrain_state="pending") > 0
    assert found.total("doctrain_shards_oldest_wait_seconds") > 0
    await until(real_mesh, other, 6, "doctrain_grants_republished_total")


async def test_a_lost_worker_and_a_cancelled_training_are_seen(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=2, settings={**METRICS, "DOCTRAIN_PROCESSOR": "slow_processor:flaky", "DOCTRAIN_LOSS_BEFORE_TRIAL": "1"})

    async def counted(name: str, **labels: str) -> float:
        return await total(real_mesh, "coordinator", name, **labels)

    async with await tenant(real_mesh, "acme", "paid") as client:
        started = await client.start_training(numbered=lasting(200, 60))
        await wait_until(lambda: {event["worker"] for event in real_mesh.executions()} >= {"worker-1", "worker-2"}, 30)
        real_mesh.parts["worker-2"].destroy()
        await client.wait(started.training.training_task_id)
        assert await counted("doctrain_take_backs_total", doctrain_blame="charged") == 1
        assert await counted("doctrain_charges_total", doctrain_kind="loss") >= 1
        assert await counted("doctrain_documents_total", doctrain_outcome="trained") == 60
        assert await counted("doctrain_documents_retries_total") >= 1
        assert await counted("doctrain_trials_total") >= 1
        await _refused(real_mesh, client)
        cancelled = await client.start_training(numbered=lasting(2000, 60))
        await wait_until(lambda: any(e["training_task_id"] == cancelled.training.training_task_id for e in real_mesh.executions()), 30)
        await client.cancel(cancelled.training.training_task_id)

        async def stopped() -> bool:
            return await counted("doctrain_hand_backs_total", doctrain_kind="stopped") >= 1

        await wait_until(stopped, 30, "the worker has stopped the shards")
        assert await counted("doctrain_trainings_ended_total", doctrain_state="cancelled") == 1


async def _refused(real_mesh: Mesh, client: doctrain.AsyncClient) -> None:
    """A shard is granted anew before what its worker reports is recorded."""
    training = (await client.start_training(numbered=lasting(1000, 10))).training.training_task_id
    await wait_until(lambda: any(event["training_task_id"] == training for event in real_mesh.executions()), 30)
    database = await asyncpg.connect(real_mesh.environment["DOCTRAIN_DATABASE_URL"])
    try:
        async with database.transaction():
            locked = await database.fetchval("select id from training where task_id = $1 for update", training)
            assert await database.execute("update shard set number = number + 1 where training = $1 and state = 2", locked) == "UPDATE 1"
            await until(real_mesh, "worker-1", 1, "doctrain_worker_blocks_unanswered")
    finally:
        await database.close()
    await until(real_mesh, "coordinator", 1, "doctrain_blocks_stale_total")
    assert (await client.wait(training)).completed == 10


async def test_a_scraper_that_hangs_does_not_hold_up_the_next_one_or_the_work(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1, settings=METRICS)
    url = url_of(real_mesh.parts["worker-1"])
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").partition(":")
    hanging = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
    try:
        async with await tenant(real_mesh, "acme", "paid") as client:
            numbered = doctrain.NumberedDocuments(uri_template="s3://test/0/{n}", first=0, count=50)
            started = await client.start_training(numbered=numbered)
            assert (await client.wait(started.training.training_task_id)).completed == 50
        assert (await scrape(url)).total("doctrain_worker_documents_total") == 50
    finally:
        for _, writer in hanging:
            writer.close()
