"""Postgres's primary lost under a mesh at work, its synchronous replica promoted: the work goes on, and what was recorded stands."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import mesh
from testkit.postgres import PostgresReplica, PostgresServer
from testkit.proxy import Proxy, proxy
from testkit.server import free_port, own_server
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

COUNT = 400


async def ask(url: str, *statements: str) -> Any:
    """What the last statement answers."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return [await connection.fetchval(statement) for statement in statements][-1]
    finally:
        await connection.close()


@dataclass
class Pair:
    """A primary with its synchronous replica, and the address that leads to the one which is written to."""

    primary: PostgresServer
    replica: PostgresServer
    address: Proxy

    def url(self, database: str) -> str:
        return self.primary.url(database).replace(f":{self.primary.port}/", f":{self.address.port}/")


@contextlib.asynccontextmanager
async def replicated(folder: Path) -> AsyncIterator[Pair]:
    for name in ("primary", "replica"):
        (folder / name).mkdir()
    with contextlib.ExitStack() as servers:
        primary = servers.enter_context(own_server(PostgresServer, folder / "primary"))
        replica = servers.enter_context(own_server(partial(PostgresReplica, primary=primary), folder / "replica"))
        await ask(primary.url(), "alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        await wait_until(lambda: ask(primary.url(), "select sync_state = 'sync' from pg_stat_replication"), 60)
        async with proxy("127.0.0.1", primary.port) as address:
            yield Pair(primary, replica, address)


async def test_a_training_goes_on_behind_a_promoted_replica_and_nothing_recorded_is_lost_or_repeated(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with (
        replicated(tmp_path) as pair,
        pair.primary.database(empty=True) as made,
        mesh(tmp_path, {**environment, "DOCTRAIN_DATABASE_URL": pair.url(made.rpartition("/")[2])}) as running,
    ):
        listen = {f"coordinator-{n}": f"127.0.0.1:{free_port()}" for n in (1, 2)}
        for name, address in listen.items():
            await running.coordinator(name, DOCTRAIN_LISTEN=address, **PROCESSOR)
        await running.worker("worker-1", **PROCESSOR)
        told: list[str] = []
        async with await tenant(running, "acme", "paid") as client:
            numbered = pb.NumberedDocuments(uri_template="s3://test/100/{n}", first=0, count=COUNT)
            started = await client.start_training(numbered=numbered)

            async def follow() -> pb.Training:
                async for update in client.watch(started.training.training_task_id, include_documents=True):
                    told.extend(document.document_id for document in update.documents)
                return update.training

            async with asyncio.TaskGroup() as group:
                following = group.create_task(follow())
                await wait_until(lambda: len(told) > 60, 60)
                pair.primary.kill()
                recorded = set(told)
                assert len(recorded) < COUNT
                pair.address.lead_to("127.0.0.1", pair.replica.port)
                await ask(pair.replica.url(), "select pg_promote()")
                for name, address in listen.items():
                    ended = running.parts[name]
                    async with asyncio.timeout(60):
                        assert await ended.process.wait() == 1
                    assert "a replica took its place" in ended.log.read_text()
                    assert "Traceback" not in ended.log.read_text()
                    await running.coordinator(name, DOCTRAIN_LISTEN=address, **PROCESSOR)
            training = following.result()
            assert (training.state, training.completed) == (pb.TRAINING_STATE_COMPLETED, COUNT)
            assert sorted(told) == sorted(map(str, range(COUNT))), "each document is told once"
            await wait_until(lambda: counted(client), 60)
        times = collections.Counter(str(event["ordinal"]) for event in running.executions() if event["event"] == "start")
        assert {times[name] for name in recorded} == {1}, "what was recorded is not trained again"


async def counted(client: doctrain.AsyncClient) -> bool:
    days = await client.get_usage()
    assert sum(day.trained for day in days) <= COUNT
    return sum(day.trained for day in days) == COUNT
