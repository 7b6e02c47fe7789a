"""``doctrain dev`` as a person has it: a process in a terminal, its folder, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import pytest

import doctrain
from doctrain_mesh import postgres
from doctrain_server.dev import postgres as embedded
from testkit.scraping import scrape
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("dev")]
START_SECONDS = 90.0
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DOCTRAIN_")}


@dataclass
class Dev:
    """A started ``doctrain dev`` and all that it says, on either stream."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    async def says(self, words: str) -> None:
        await wait_until(lambda: words in self.said or self.process.returncode is not None, START_SECONDS, words)
        assert words in self.said

    async def ends(self, seconds: float = 30.0) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def dev(folder: Path, *options: str, **settings: str) -> AsyncIterator[Dev]:
    log = folder / "dev.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "doctrain", "dev", "--listen", "127.0.0.1:0", "--dashboard", "127.0.0.1:0", "--workers", "1", *options),
            cwd=folder,
            env={**CLEAN, **settings},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield Dev(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def run(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain", *arguments),
        cwd=folder,
        env={**CLEAN, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(START_SECONDS):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def servers(folder: Path) -> list[psutil.Process]:
    """Every process that works in the folder, Postgres's own among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and "postgres" in process.name():
                found.append(process)
    return found


by_itself = pytest.mark.skipif(
    embedded.command_prefix() is None, reason="root may make no user namespace here, so Postgres is the wheel's to start and to end"
)


@by_itself
async def test_its_postgres_has_room_for_as_many_connections_as_were_asked_for(tmp_path: Path) -> None:
    async with embedded.embedded_postgres(tmp_path / "postgres", connections=321) as url:
        connection = await postgres.connect(url)
        try:
            assert await connection.fetchval("show max_connections") == "321"
        finally:
            await postgres.close_connection(connection)


@by_itself
async def test_one_process_at_a_time_has_a_folder_and_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    async with dev(tmp_path) as first:
        await first.says("Ctrl-C stops it.")
        assert "Its dashboard is http://127.0.0.1:" in first.said
        assert "In another terminal, in this folder:\n  doctrain train FOLDER" in first.said
        assert " INFO    doctrain_coordinator.dispatch.leadership: This coordinator leads." in first.said
        profile = (tmp_path / "doctrain-data/client.json").read_text()
        assert (tmp_path / "doctrain-data/.gitignore").read_text() == "*\n"
        assert (tmp_path / "doctrain-data/blobs").stat().st_mode & 0o777 == 0o700
        assert servers(tmp_path)
        for listen in ("127.0.0.1:0", json.loads(profile)["address"]):
            status, said = await run(tmp_path, "dev", "--listen", listen)
            assert status == os.EX_CONFIG
            assert f"doctrain dev (pid {first.process.pid}) already runs on this folder, at 127.0.0.1:" in said
            assert "another folder with --data" in said
        assert (tmp_path / "doctrain-data/client.json").read_text() == profile
        (tmp_path / "elsewhere").mkdir()
        status, said = await run(tmp_path / "elsewhere", "doctor", DOCTRAIN_PROFILE=str(tmp_path / "doctrain-data/client.json"))
        assert f"ok   dev: doctrain dev (pid {first.process.pid}) already runs on this folder, at " in said
        assert "ok   database: PostgreSQL 18" in said
        assert "ok   worker key: Is known, of role worker." in said
        assert "ok   broker: In-process stand-in" in said
        assert ": Serves." in said
        operator_key = json.loads(profile)["operator_key"]
        async with doctrain.AsyncClient(json.loads(profile)["address"], api_key=operator_key) as operator:
            own = [key.key_id async for key in operator.fleet.list_keys()][-1]
            await operator.fleet.create_key("operator")
            await operator.fleet.revoke_key(own)
        first.process.kill()
        await first.ends()
        await wait_until(lambda: not servers(tmp_path), 30, "Postgres ends with the process that started it")
    async with dev(tmp_path, DOCTRAIN_METRICS_LISTEN="127.0.0.1:0") as second:
        await second.says("Ctrl-C stops it.")
        assert operator_key not in (tmp_path / "doctrain-data/client.json").read_text(), "one that was revoked is made anew"
        metrics = second.said.partition("Its metrics are at ")[2].partition(".\n")[0]

        async def told() -> bool:
            found = await scrape(metrics)
            return (found.total("doctrain_worker_lanes"), found.total("doctrain_worker_streams")) == (6, 1)

        await wait_until(told, 10, "gauges are read once a second")
        second.process.send_signal(signal.SIGINT)
        assert await second.ends() == 0
        assert "Stopped; its data is kept in doctrain-data." in second.said
        assert "Making a database" not in second.said
    assert not servers(tmp_path)


@by_itself
async def test_a_worker_whose_guardian_dies_is_started_again_and_the_mesh_goes_on(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A short note.")
    async with dev(tmp_path, "--workers", "2") as running:
        await running.says("Ctrl-C stops it.")
        first, _ = guardians(running.process.pid)
        first.kill()
        await running.says("ended; it is started again in")
        await wait_until(lambda: len(guardians(running.process.pid)) == 2, 60, "both workers have a guardian")
        status, said = await run(tmp_path, "train", "note.txt", "--watch")
        assert status == 0, said + running.said
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0
        assert "Traceback" not in running.said


def guardians(pid: int) -> list[psutil.Process]:
    """Those below a ``doctrain dev``."""
    found = []
    for process in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if "doctrain_worker.sandbox.guardian" in process.cmdline():
                found.append(process)
    return found


@by_itself
async def test_all_that_it_says_is_json_when_that_is_asked_for(tmp_path: Path) -> None:
    async with dev(tmp_path, DOCTRAIN_LOG_FORMAT="json") as running:
        await running.says("Ctrl-C stops it.")
        (guardian,) = guardians(running.process.pid)
        guardian.kill()
        await running.says("it is started again in")
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0
        said = [json.loads(line) for line in running.said.splitlines()]
    assert {line["process"] for line in said} == {"doctrain-dev"}
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in said)


@by_itself
async def test_a_signal_while_it_starts_ends_it_quietly(tmp_path: Path) -> None:
    async with dev(tmp_path) as starting:
        await starting.says("Making a database")
        starting.process.send_signal(signal.SIGTERM)
        assert await starting.ends() == 0
        assert starting.said.splitlines()[-1] == "Stopped before it was up."
        assert "Traceback" not in starting.said
    assert not servers(tmp_path)


@by_itself
async def test_a_second_ctrl_c_waits_no_longer_and_says_nothing_odd(tmp_path: Path) -> None:
    async with dev(tmp_path) as running:
        await running.says("Ctrl-C stops it.")
        running.process.send_signal(signal.SIGINT)
        await running.says("Stopping")
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() in {0, -signal.SIGINT}
        _, *after = running.said.partition("Stopping")[2].splitlines()
        assert all(" INFO " in line for line in after)
    await wait_until(lambda: not servers(tmp_path), 30, "Postgres ends with the process that started it")


async def test_a_stage_that_is_not_there_is_told_before_a_database_is_made(tmp_path: Path) -> None:
    status, said = await run(tmp_path, "dev", DOCTRAIN_STAGE_READ="acme_stages.read:read")
    assert status == os.EX_CONFIG
    assert "DOCTRAIN_STAGE_READ is 'acme_stages.read:read', but there is no module 'acme_stages.read'" in said
    assert not (tmp_path / "doctrain-data").exists()


async def test_an_address_in_use_is_told_as_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, said = await run(tmp_path, "dev", "--listen", address)
    assert status == os.EX_CONFIG
    complaint = said.splitlines()[-1]
    assert complaint.startswith(f"doctrain dev: The coordinator cannot listen on {address} (Address already in use); another mesh may run")
    assert "--listen" in complaint
    assert not (tmp_path / "doctrain-data").exists(), "it is told before a database is made"
