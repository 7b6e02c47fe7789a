"""A worker as a process: stopped before it has work, and frozen for longer than its lease."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest

import doctrain
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh, Part
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("meshes at work")]
LEASE = {"DOCTRAIN_LEASE_SECONDS": "3", "DOCTRAIN_BEAT_SECONDS": "0.25", "DOCTRAIN_FENCE_MARGIN_SECONDS": "1"}


async def test_a_worker_starts_among_files_of_any_name_and_may_be_stopped_before_it_found_a_coordinator(
    real_mesh: Mesh, tmp_path: Path
) -> None:
    log = tmp_path / "lonely.log"
    (tmp_path / "doctrain_mesh.py").write_text("raise ImportError('this is no part of the worker')")
    own = {"DOCTRAIN_WORKER_KEY": real_mesh.worker_key, "DOCTRAIN_PROCESSOR": "slow_processor:slow", "DOCTRAIN_COORDINATORS": "127.0.0.1:1"}
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "doctrain_server", "worker"),
            env={**os.environ, **real_mesh.environment, **own},
            cwd=tmp_path,
            stderr=stderr,
        )
    part = Part("lonely", process, log)
    try:
        await wait_until(lambda: "Coordinator 127.0.0.1:1" in log.read_text(), 20, "it looks for its coordinator")
        assert await part.stop(15) == 0
    finally:
        part.destroy()


async def test_a_worker_with_a_wrong_key_says_so_and_its_guardian_does_not_start_it_again(real_mesh: Mesh) -> None:
    coordinator = await real_mesh.coordinator("coordinator")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain_server", "worker"),
        env={
            **os.environ,
            **real_mesh.environment,
            "DOCTRAIN_WORKER_KEY": real_mesh.operator_key,
            "DOCTRAIN_PROCESSOR": "slow_processor:slow",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        _, said = await process.communicate()
    lines = said.decode().splitlines()
    assert process.returncode == os.EX_CONFIG
    assert lines[-1].startswith(f"doctrain-server: DOCTRAIN_WORKER_KEY is not the key of a worker: {coordinator.address} refused it.")
    assert not any("Traceback" in line or "AioRpcError" in line for line in lines)


async def test_a_worker_that_was_frozen_starts_nothing_of_its_lost_session(real_mesh: Mesh, postgres: str) -> None:
    await real_mesh.coordinator("coordinator", **LEASE)
    for name in ("worker-1", "worker-2"):
        await real_mesh.worker(name, DOCTRAIN_PROCESSOR="slow_processor:slow", **LEASE)
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key) as operator:
        await operator.fleet.create_tenant("acme", plan="paid")
        key = (await operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="acme")).key
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=key) as client:
        documents = pb.NumberedDocuments(uri_template="s3://test/100/{n}", first=0, count=1500)
        started = await client.start_training(numbered=documents)
        await wait_until(lambda: sum(e["worker"] == "worker-1" for e in real_mesh.executions()) > 20, 30)
        frozen = main_process(real_mesh.parts["worker-1"].process.pid)
        assert frozen is not None
        frozen.send_signal(signal.SIGSTOP)
        connection = await asyncpg.connect(postgres)
        try:
            await wait_until(lambda: connection.fetchval("select count(*) from shard where number > 1"), 30)
            taken = await connection.fetch("select first, count from shard where number > 1")
        finally:
            await connection.close()
        woke = time.monotonic()
        frozen.send_signal(signal.SIGCONT)
        ended = await client.wait(started.training.training_task_id)
    assert ended.completed == 1500
    again = {ordinal for row in taken for ordinal in range(row["first"], row["first"] + row["count"])}
    late = [
        event
        for event in real_mesh.executions()
        if event["worker"] == "worker-1" and event["event"] == "start" and event["monotonic"] > woke
        if event["ordinal"] in again and event["attempt"] == 1
    ]
    assert again
    assert late == []


async def test_a_worker_without_a_name_is_its_own_successor(real_mesh: Mesh, postgres: str) -> None:
    await real_mesh.coordinator("coordinator")
    part = await real_mesh.worker("unnamed", DOCTRAIN_NAME="", DOCTRAIN_PROCESSOR="slow_processor:slow")
    died = main_process(part.process.pid)
    assert died is not None
    died.kill()
    assert part.process.stdout is not None
    async with asyncio.timeout(60):
        again = (await part.process.stdout.readline()).decode()
    name, first = part.ready.removeprefix("working as ").strip().split(", session ")
    assert again.startswith(f"working as {name}, session ")
    assert again != part.ready
    connection = await asyncpg.connect(postgres)
    try:
        rows = await connection.fetch("select worker_id, predecessor from session order by id")
    finally:
        await connection.close()
    assert [(row["worker_id"], row["predecessor"]) for row in rows] == [(name, None), (name, int(first))]


async def test_coordinators_restart_one_after_the_other_and_no_document_runs_twice(real_mesh: Mesh) -> None:
    for name in ("coordinator-1", "coordinator-2"):
        await real_mesh.coordinator(name)
    await real_mesh.worker("worker-1", DOCTRAIN_PROCESSOR="slow_processor:slow")
    async with doctrain.AsyncClient(real_mesh.addresses, api_key=real_mesh.operator_key) as operator:
        await operator.fleet.create_tenant("acme", plan="paid")
        key = (await operator.fleet.create_key(fleet_pb2.ROLE_TENANT, tenant_id="acme")).key
    async with doctrain.AsyncClient(real_mesh.addresses[1:], api_key=key) as client:
        documents = pb.NumberedDocuments(uri_template="s3://test/400/{n}", first=0, count=300)
        started = await client.start_training(numbered=documents)
        await wait_until(lambda: len(real_mesh.executions()) > 40, 30)
        began = time.monotonic()
        assert await real_mesh.parts["coordinator-1"].stop() == 0
        assert time.monotonic() - began < 8
        ended = await client.wait(started.training.training_task_id)
    assert ended.completed == 300
    assert sum(event["event"] == "start" for event in real_mesh.executions()) == 300
    assert "said again" not in real_mesh.parts["worker-1"].log.read_text()  # nothing that a coordinator was told stayed unanswered


async def test_a_lone_coordinator_does_not_wait_for_workers_that_have_nowhere_to_go(real_mesh: Mesh) -> None:
    lone = await real_mesh.coordinator("coordinator")
    await real_mesh.worker("worker-1", DOCTRAIN_PROCESSOR="slow_processor:slow")
    began = time.monotonic()
    assert await lone.stop() == 0
    assert time.monotonic() - began < 8


def main_process(guardian: int) -> psutil.Process | None:
    """The main process below a worker's guardian, once there is one."""
    below = psutil.Process(guardian).children(recursive=True)
    return next((p for p in below if "worker-main" in p.cmdline()), None)
