"""The testkit's own promise: servers and parts of a mesh live as long as somebody needs them, and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from testkit.etcd import EtcdServer
from testkit.postgres import PostgresServer
from testkit.processes import below, words
from testkit.server import shared_server
from testkit.waiting import wait_until

_PROGRAM = """
import pathlib, sys
from testkit.etcd import EtcdServer
from testkit.server import shared_server
with shared_server(EtcdServer, pathlib.Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""

_WORKER = """
import asyncio, pathlib, sys
from testkit.mesh import Mesh
async def main():
    folder = pathlib.Path(sys.argv[1])
    environment = {
        "DOCTRAIN_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "DOCTRAIN_BROKER_URL": "amqp://127.0.0.1:1/",
        "DOCTRAIN_BLOB_URL": folder.as_uri(),
        "DOCTRAIN_COORDINATORS": "127.0.0.1:1",
    }
    part = await Mesh(folder, environment, worker_key="any").lonely_worker("worker-1")
    print(part.process.pid, flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def _user(folder: Path, program: str = _PROGRAM) -> tuple[asyncio.subprocess.Process, int]:
    """A process that runs the program, and the number that it says."""
    search_path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search_path}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(folder), env=environment, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    async with asyncio.timeout(40):
        return process, int(await process.stdout.readline())


@pytest.mark.etcd
async def test_a_shared_server_outlives_who_started_it_and_ends_with_its_last_user(tmp_path: Path) -> None:
    first, port = await _user(tmp_path)
    second, same = await _user(tmp_path)
    assert port == same
    (process,) = [
        p for p in psutil.process_iter(["name", "cmdline"]) if p.info["name"] == "etcd" and str(tmp_path) in str(p.info["cmdline"])
    ]
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert process.is_running()
    second.send_signal(signal.SIGKILL)
    await second.wait()
    await wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    await wait_until(lambda: not (tmp_path / "server").exists())


async def test_a_part_of_a_mesh_ends_with_the_process_that_started_it_and_so_does_all_below(tmp_path: Path) -> None:
    user, pid = await _user(tmp_path, _WORKER)
    await wait_until(lambda: any("worker-main" in words(process) for process in below(pid)), 40.0)
    started = [psutil.Process(pid), *below(pid)]
    user.send_signal(signal.SIGKILL)
    await user.wait()
    await wait_until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started))


@pytest.mark.xdist_group("postgres-faults")
async def test_a_frozen_postgres_goes_on_and_a_killed_one_keeps_what_was_committed(own_postgres: PostgresServer) -> None:
    async with own_postgres.database(empty=True) as url:
        connection = await asyncpg.connect(url, timeout=10)
        await connection.execute("create extension vector; create table kept (x int); insert into kept values (7)")
        own_postgres.freeze()
        answer = asyncio.ensure_future(connection.fetchval("select x from kept"))
        assert (await asyncio.wait({answer}, timeout=0.3))[0] == set()
        own_postgres.thaw()
        assert await answer == 7
        own_postgres.kill()
        assert not own_postgres.answers()
        connection.terminate()
        await own_postgres.restart()
        connection = await asyncpg.connect(url, timeout=10)
        assert await connection.fetchval("select x from kept") == 7
        await connection.close()
        await own_postgres.wipe()
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(url, timeout=10)


def test_a_missing_server_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for value, outcome in (("true", pytest.fail.Exception), ("", pytest.skip.Exception)):
        monkeypatch.setenv("CI", value)
        with pytest.raises(outcome, match="etcd is not installed"), shared_server(EtcdServer, tmp_path / f"shared{value}"):
            pass
