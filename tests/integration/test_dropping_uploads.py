"""Uploads that no training names, among many that are named: a call looks for a few seconds, and the next goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from doctrain import AsyncClient, errors
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.removal import unnamed_uploads, uploads
from doctrain_coordinator.removal.unnamed_uploads import UnnamedUploads
from doctrain_coordinator.tenants.identity import ROLE_TENANT, Identity
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import TenantSuspendedError
from testkit.coordinator import Coordinators, coordinators
from testkit.core import core
from testkit.scripted_service import ScriptedService

AT_ONCE = 2


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(unnamed_uploads, "AT_ONCE", AT_ONCE)
    monkeypatch.setattr(unnamed_uploads, "CALL_SECONDS", 0.0)
    async with coordinators(postgres, tmp_path) as running:
        yield running


@pytest.mark.parametrize("validate_only", [True, False])
async def test_all_are_looked_at_however_many_come_before(served: Coordinators, validate_only: bool) -> None:
    acme = await served.tenant("acme")
    stored = sorted([await acme.upload(f"text {n}".encode()) for n in range(4 * AT_ONCE)], key=lambda one: one.sha256)
    await acme.start_training([pb.DocumentInput(document_id=one.sha256, uri=one.uri) for one in stored[:-1]])
    told = await acme.drop_uploads(validate_only=validate_only)
    assert (told.uploads, told.bytes, told.complete) == (1, stored[-1].size, True)
    assert (await acme.drop_uploads()).uploads == validate_only


async def test_a_manifest_is_named_until_it_has_been_read(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    text = await acme.upload(b"The harbour.")
    lines = [json.dumps({"document_id": f"{n}", "uri": text.uri}) for n in range(8)]
    manifest = await acme.upload("\n".join(lines).encode())
    await acme.start_training(manifest_uri=manifest.uri, training_task_id="once")
    await acme.start_training(manifest_uri=manifest.uri, training_task_id="again")
    assert (await acme.get_training("again")).sealed
    told = await acme.drop_uploads()
    assert (told.uploads, told.bytes, told.kept_bytes) == (1, manifest.size, text.size)
    assert (await acme.start_training(manifest_uri=manifest.uri, training_task_id="once")).summary.existed
    with pytest.raises(errors.InvalidRequestError, match="manifest"):
        await acme.start_training(manifest_uri=manifest.uri, training_task_id="new")


async def test_a_position_is_good_for_its_tenant_only(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    await served.tenant("other")
    for n in range(2 * AT_ONCE):
        await acme.upload(f"text {n}".encode())
    stub: Any = training_pb2_grpc.TrainingServiceStub(await served.channel())

    async def asked(tenant: str, position: str) -> pb.DropUploadsResponse:
        metadata = (("authorization", f"Bearer {await served.key(ROLE_TENANT, tenant)}"),)
        answer: pb.DropUploadsResponse = await stub.DropUploads(
            pb.DropUploadsRequest(validate_only=True, resume_position=position), metadata=metadata
        )
        return answer

    first = await asked("acme", "")
    assert (first.uploads, first.complete) == (AT_ONCE, False)
    second = await asked("acme", first.resume_position)
    assert second.uploads == AT_ONCE
    for tenant, position in (("other", first.resume_position), ("acme", first.resume_position[:-1]), ("acme", "x")):
        with pytest.raises(grpc.aio.AioRpcError, match="is not one that this call answered"):
            await asked(tenant, position)


async def test_a_tenant_that_is_gone_has_none_to_drop(postgres: str, tmp_path: Path) -> None:
    async with core(postgres) as one:
        unnamed = UnnamedUploads(one.pool, BlobStore(tmp_path.as_uri()))
        with pytest.raises(TenantSuspendedError, match="is being deleted"):
            await unnamed.drop(Identity(ROLE_TENANT, 1234, "gone"), "", only_count=False)


async def test_a_client_goes_on_from_answer_to_answer_and_ends_where_it_gets_no_further(
    client: AsyncClient, service: ScriptedService
) -> None:
    for positions, complete in ((["a", "b"], True), (["a", "a", "a"], False)):
        service.requests.clear()
        service.blobs, service.drop_positions = {"a": b"12345"}, positions
        assert (await client.drop_uploads()).complete is complete
        assert [asked.resume_position for asked in service.asked(pb.DropUploadsRequest)] == ["", "a", "b"][: 3 if complete else 2]


async def test_each_is_looked_up_by_its_key_before_anything_was_analysed(postgres: str) -> None:
    count = 100
    async with core(postgres) as one:
        tenant = await one.tenant("acme")
        training = await one.training(tenant, "t", 1)
        connection: asyncpg.Connection[Any] = await asyncpg.connect(postgres, statement_cache_size=0)
        try:
            sha256 = "encode(sha256(n::text::bytea), 'hex')"
            await connection.execute(
                f"insert into document (training, ordinal, document_id, uri) select $1, n, n::text, 'blob://' || {sha256} "
                "from generate_series(1, 60000) n",
                training,
            )
            insert = f"insert into upload (tenant, sha256, bytes) select $1, {sha256}, 1 from generate_series(1, 60000) n returning sha256"
            some = [row["sha256"] for row in await connection.fetch(insert, tenant)][:count]
            await connection.execute("set plan_cache_mode = force_generic_plan")
            await connection.execute(f"prepare unnamed (bigint, text[], float8) as {uploads.SQL['unnamed']}")
            text = await connection.fetchval(f"explain (analyze, format json) execute unnamed ({tenant}, '{{{','.join(some)}}}', 0)")
        finally:
            await connection.close()
    assert rows(json.loads(text)[0]["Plan"]) < 20 * count


def rows(node: dict[str, Any]) -> float:
    """How many the nodes of a plan handed on or dropped, all their loops together."""
    dropped = sum(value for key, value in node.items() if key.startswith("Rows Removed"))
    return float((node["Actual Rows"] + dropped) * node["Actual Loops"]) + sum(map(rows, node.get("Plans", ())))
