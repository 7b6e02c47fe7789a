"""Postgres restored to an earlier state under a mesh at work: nothing recorded after that state is believed, whoever remembers it."""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path

import asyncpg
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.coordinator import coordinators
from testkit.indexing import indexing, train
from testkit.mesh import Mesh, mesh
from testkit.postgres import PostgresServer
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

LOOKS = "select sum(looks) from mark"
"""How often coordinators looked where Postgres stands."""


def numbered(count: int, milliseconds: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=count)


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row.values()) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_a_restore_under_a_working_mesh_brings_back_the_earlier_state_and_no_more(
    own_postgres: PostgresServer, environment: dict[str, str], tmp_path: Path
) -> None:
    async with own_postgres.database() as url, mesh(tmp_path, {**environment, "DOCTRAIN_DATABASE_URL": url}) as running:
        await running.coordinator("coordinator-1", **PROCESSOR)
        await running.worker("worker-1", **PROCESSOR)
        async with await tenant(running, "acme", "free") as client:
            before = await client.start_training(training_task_id="before", numbered=numbered(20, 10))
            await client.wait("before")
            assert before.training.total == 20
            await asyncio.to_thread(own_postgres.back_up, tmp_path / "backup")
            looked = await rows(url, LOOKS)

            await client.start_training(training_task_id="lost", numbered=numbered(10, 60_000))
            await wait_until(lambda: ran(running, "lost")["start"] == 5, 60)

            async def looked_since() -> bool:
                return await rows(url, LOOKS) != looked

            await wait_until(looked_since, 30)  # a restore of less than a second is noticed by nobody
            [(key,)] = await rows(url, "select max(id) from training")
            sessions = await rows(url, "select max(id) from session")

        await asyncio.to_thread(own_postgres.restore, tmp_path / "backup")
        coordinator = running.parts["coordinator-1"]
        async with asyncio.timeout(60):
            assert await coordinator.process.wait() == 1
        assert "Postgres is not where it was" in coordinator.log.read_text()
        assert "Traceback" not in coordinator.log.read_text()

        await running.coordinator("coordinator-2", **PROCESSOR)
        async with await tenant(running, "other", "free") as client:
            await client.start_training(training_task_id="other", numbered=numbered(10, 10))
            assert await rows(url, "select id, task_id from training where id > 1") == [(key, "other")], "numbers are given out again"
            ended = await client.wait("other")
            assert (ended.completed, ended.total) == (10, 10)
        assert await rows(url, "select max(id) from session") > sessions
        await wait_until(lambda: ran(running, "lost")["end"] == 5, 60)
    assert ran(running, "other") == {"start": 10, "end": 10}
    assert ran(running, "lost") == {"start": 5, "end": 5}, "stopped with its session, and not started again"


async def test_the_index_is_as_old_as_what_was_restored(own_postgres: PostgresServer, tmp_path: Path) -> None:
    backed_up = {"kept": "The old harbour.", "changed": "A harbour of wood.", "deleted": "The harbour's crane."}
    async with own_postgres.database() as url:
        async with coordinators(url, tmp_path) as served, indexing(served):
            acme, key = await served.tenant("acme"), await served.key(1, "acme")
            await train(acme, backed_up)
            assert await harbours(acme) == backed_up
            await asyncio.to_thread(own_postgres.back_up, tmp_path / "backup")
            await train(acme, {"since": "The new harbour.", "changed": "A harbour of stone."})
            assert await acme.delete_documents(["deleted"]) == 1
            assert await harbours(acme) == {"kept": "The old harbour.", "changed": "A harbour of stone.", "since": "The new harbour."}

        await asyncio.to_thread(own_postgres.restore, tmp_path / "backup")
        async with coordinators(url, tmp_path) as served, indexing(served):
            acme = await served.client(key)
            assert await harbours(acme) == backed_up
            await train(acme, {"since": "The harbour of today."})
            assert (await harbours(acme))["since"] == "The harbour of today."


async def harbours(client: doctrain.AsyncClient) -> dict[str, str]:
    """What is found, by its document."""
    return {hit.document_id: hit.text for hit in await client.search("harbour")}


def ran(running: Mesh, training: str) -> collections.Counter[str]:
    return collections.Counter(event["event"] for event in running.executions() if event["training_task_id"] == training)
