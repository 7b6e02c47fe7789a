"""The mesh as processes with the certificates that `doctrain certs` makes: TLS to tenants, mutual TLS to workers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from testkit.mesh import Mesh
from testkit.tenants import PROCESSOR, tenant
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("meshes in change")]


async def certificates(folder: Path) -> dict[str, dict[str, str]]:
    """The settings of each part."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain", "certs", str(folder), "--name", "127.0.0.1", "--json"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    given: dict[str, dict[str, str]] = json.loads(out)
    return given


async def test_documents_are_trained_by_workers_that_show_a_certificate_alone(real_mesh: Mesh, tmp_path: Path) -> None:
    given = await certificates(tmp_path / "certificates")
    await real_mesh.coordinator("coordinator-1", **{**PROCESSOR, **given["coordinator"], "DOCTRAIN_WORKER_LISTEN": "127.0.0.1:0"})
    ca = given["worker"]["DOCTRAIN_TLS_CA"]
    bare = await real_mesh.lonely_worker("bare", **PROCESSOR, DOCTRAIN_TLS_CA=ca)
    await real_mesh.worker("trusted", **PROCESSOR, **given["worker"])
    async with await tenant(real_mesh, "acme", "paid", ca=ca) as client:
        numbered = pb.NumberedDocuments(uri_template="s3://test/1/{n}", first=0, count=200)
        ended = await client.wait((await client.start_training(numbered=numbered)).training.training_task_id)
    assert (ended.state, ended.completed) == (pb.TRAINING_STATE_COMPLETED, 200)
    assert {event["worker"] for event in real_mesh.executions()} == {"trusted"}
    await wait_until(lambda: "refused the stream" in bare.log.read_text(), 30)
