"""Deploys: every process restarted one after the other under load, and versions that differ for a while."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.server import free_port
from testkit.tenants import PROCESSOR, tenant

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]

ROOT = Path(__file__).parents[2]
PREDECESSOR = "c82bf37"
"""The last commit whose workers and coordinators have to get along with this version's."""


def numbered(count: int, milliseconds: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template=f"s3://test/{milliseconds}/{{n}}", first=0, count=count)


class Usage:
    """A tenant's service that never rests; whatever it is told that is not an answer ends it."""

    def __init__(self, client: doctrain.AsyncClient) -> None:
        self._client = client
        self.over = False
        self.trainings = 0

    async def train(self) -> None:
        """Trainings one after the other, each watched to its end."""
        while not self.over:
            started = await self._client.start_training(numbered=numbered(40, 50))
            counts = []
            async for update in self._client.watch(started.training.training_task_id, include_documents=True):
                counts.append(update.training.completed)
            assert counts == sorted(counts)
            assert counts[-1] == 40
            self.trainings += 1

    async def read(self) -> None:
        """Uploads and reads, a few times a second."""
        while not self.over:
            await self._client.upload(os.urandom(20_000))
            async for training in self._client.list_trainings(page_size=5):
                await self._client.explain(training.training_task_id)
                async for _ in self._client.list_documents(training.training_task_id):
                    pass
                break
            await asyncio.sleep(0.1)


async def test_a_rolling_restart_of_every_process_shows_no_client_an_error(real_mesh: Mesh) -> None:
    listen = {f"coordinator-{n}": f"127.0.0.1:{free_port()}" for n in (1, 2)}
    for name, address in listen.items():
        await real_mesh.coordinator(name, DOCTRAIN_LISTEN=address, **PROCESSOR)
    for n in (1, 2):
        await real_mesh.worker(f"worker-{n}", **PROCESSOR)
    async with await tenant(real_mesh, "acme", "paid") as client:
        usage = Usage(client)
        async with asyncio.TaskGroup() as group:
            for work in (usage.train, usage.train, usage.read, usage.read):
                group.create_task(work())
            for name, address in listen.items():
                assert await real_mesh.parts[name].stop() == 0
                await real_mesh.coordinator(name, DOCTRAIN_LISTEN=address, **PROCESSOR)
            for n in (1, 2):
                assert await real_mesh.parts[f"worker-{n}"].stop() == 0
                await real_mesh.worker(f"worker-{n}", **PROCESSOR)
            usage.over = True
        assert usage.trainings >= 2
    starts = [(e["training_task_id"], e["ordinal"]) for e in real_mesh.executions() if e["event"] == "start"]
    assert len(starts) == len(set(starts)) == 40 * usage.trainings  # a deploy repeats nothing


@pytest.fixture
def predecessor(tmp_path: Path) -> Mapping[str, str]:
    """The environment in which a part runs the code of ``PREDECESSOR``."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", PREDECESSOR], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this checkout does not have commit {PREDECESSOR}")
    (tmp_path / "predecessor").mkdir()
    subprocess.run(["tar", "--extract", "--directory", str(tmp_path / "predecessor")], input=packed.stdout, check=True)
    roots = [tmp_path / "predecessor" / top for top in ("mesh", "coordinator", "worker", "server", "clients/python")]
    return {"PYTHONPATH": os.pathsep.join([*map(str, roots), str(Path(__file__).parent)])}


@pytest.mark.parametrize("older", ["worker", "coordinator"])
async def test_the_version_before_works_with_this_one(real_mesh: Mesh, predecessor: Mapping[str, str], older: str) -> None:
    before: dict[str, Mapping[str, str]] = {older: predecessor}
    await real_mesh.coordinator("coordinator-1", **before.get("coordinator", {}), **PROCESSOR)
    await real_mesh.worker("worker-1", **before.get("worker", {}), **PROCESSOR)
    async with await tenant(real_mesh, "acme", "paid") as client:
        started = await client.start_training(numbered=numbered(100, 20))
        ended = await client.wait(started.training.training_task_id)
        assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, 100)
        cancelled = (await client.start_training(numbered=numbered(500, 200))).training.training_task_id
        async for update in client.watch(cancelled):
            if update.training.completed:
                await client.cancel(cancelled)
        again = await client.start_training(numbered=numbered(30, 20))
        assert (await client.wait(again.training.training_task_id)).completed == 30
