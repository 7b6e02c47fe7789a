"""What operators see of a mesh in Prometheus: counts that add up over the processes, and the fleet as its leader sees it."""

from __future__ import annotations

import asyncio

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.scraping import Scrape, scrape, url_of
from testkit.tenants import start, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("acceptance")]

METRICS = {"DOCTRAIN_METRICS_LISTEN": "127.0.0.1:0"}
STAGES = {"fetch", "detect", "extract", "chunk", "embed", "index"}


async def scraped(real_mesh: Mesh, role: str) -> list[Scrape]:
    return [await scrape(url_of(part)) for name, part in real_mesh.parts.items() if name.startswith(role)]


async def test_documents_calls_and_stages_are_counted_once_over_all_processes(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1, settings={**METRICS, "DOCTRAIN_PROCESSOR": ""})
    async with await tenant(real_mesh, "acme", "free") as client:
        documents = [pb.DocumentInput(document_id=f"note-{n}", content=f"# Note {n}\n\nThe tide is high.".encode()) for n in range(3)]
        program = pb.DocumentInput(document_id="program", content=b"\x7fELF\x02\x01")
        for sent in (documents, documents, [program]):
            started = await client.start_training(documents=sent)
            await client.wait(started.training.training_task_id)
        await client.upload(b"# Uploaded")
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


async def test_the_leader_alone_tells_of_the_fleet(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=1, settings=METRICS)

    async def settled() -> bool:
        found = await scraped(real_mesh, "coordinator")
        return sum(one.total("doctrain_sessions", doctrain_state="live") for one in found) == 1

    await wait_until(settled, 40, "the leader has read the fleet")
    coordinators = await scraped(real_mesh, "coordinator")
    assert sorted(one.total("doctrain_leading") for one in coordinators) == [0, 1]
    leader, other = sorted(coordinators, key=lambda one: -one.total("doctrain_leading"))
    assert leader.total("doctrain_lanes", doctrain_state="free") == 6
    assert leader.series("doctrain_shards", doctrain_state="pending") == [0]
    assert leader.series("doctrain_broker_consumers") == [1]
    assert leader.series("doctrain_tenant_shards", doctrain_tenant_id="_other") == [0]
    for name in ("doctrain_shards", "doctrain_sessions", "doctrain_broker_messages", "doctrain_tenant_shards"):
        assert other.series(name) == []
    await _leader_moves(real_mesh)


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


async def test_a_lost_worker_and_a_cancelled_training_are_seen(real_mesh: Mesh) -> None:
    await start(real_mesh, workers=2, settings=METRICS)

    async def total(name: str, **labels: str) -> float:
        return sum(one.total(name, **labels) for one in await scraped(real_mesh, "coordinator"))

    def numbered(milliseconds: int) -> doctrain.NumberedDocuments:
        return doctrain.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=60)

    async with await tenant(real_mesh, "acme", "paid") as client:
        started = await client.start_training(numbered=numbered(200))
        await wait_until(lambda: {event["worker"] for event in real_mesh.executions()} >= {"worker-1", "worker-2"}, 30)
        real_mesh.parts["worker-2"].destroy()
        await client.wait(started.training.training_task_id)
        assert await total("doctrain_take_backs_total", doctrain_blame="charged") == 1
        assert await total("doctrain_charges_total", doctrain_kind="loss") >= 1
        assert await total("doctrain_documents_total", doctrain_outcome="trained") == 60
        cancelled = await client.start_training(numbered=numbered(2000))
        await wait_until(lambda: any(e["training_task_id"] == cancelled.training.training_task_id for e in real_mesh.executions()), 30)
        await client.cancel(cancelled.training.training_task_id)

        async def stopped() -> bool:
            return await total("doctrain_hand_backs_total", doctrain_kind="stopped") >= 1

        await wait_until(stopped, 30, "the worker has stopped the shards")
        assert await total("doctrain_trainings_ended_total", doctrain_state="cancelled") == 1


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
