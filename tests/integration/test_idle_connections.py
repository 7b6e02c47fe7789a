"""Connections without calls take a coordinator's files for a while only, and it takes all that it may."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_mesh import open_files, rpc
from doctrain_mesh.settings import Settings
from doctrain_server.doctor import examination
from doctrain_server.doctor.finding import Verdict
from testkit.coordinator import Coordinators, coordinators

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(rpc, "IDLE_CONNECTION_MS", 500)
    async with coordinators(postgres, tmp_path, watch_heartbeat_seconds=0.1) as running:
        yield running


async def test_a_connection_without_a_call_is_closed_and_a_watch_is_a_call(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=5), training_task_id="t")
    async with asyncio.timeout(30):
        cuts: list[object] = []
        watch = aiter(acme.watch("t", on_interrupted=cuts.append))
        await anext(watch)
        host, _, port = served.running[0].address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE)
        with suppress(ConnectionError):
            while await reader.read(2**16):
                pass
        writer.close()
        await acme.cancel("t")
        async for update in watch:
            last = update
    assert last.training.state == pb.TRAINING_STATE_CANCELLED
    assert not cuts


def test_a_service_takes_all_files_that_it_may() -> None:
    program = (
        "import resource; from doctrain_mesh import open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048))\n"
        "open_files.take_all()\n"
        "print(list(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(said.stdout) == [2048, 2048]


async def test_the_doctor_says_when_a_coordinator_may_open_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, verdict in ((1_024, Verdict.BAD), (65_536, Verdict.OK)):
        monkeypatch.setattr(open_files, "most", lambda most=most: most)
        found = await examination.examine(Settings(), alone=True, documents=False)
        (files,) = [finding for finding in found if finding.subject == "open files"]
        assert files.verdict is verdict
        assert f"{most:,} files" in files.sentence
        assert ("LimitNOFILE" in files.sentence) == (verdict is Verdict.BAD)
