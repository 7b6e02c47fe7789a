"""What a tenant's plan allows and what of it is in use, as the tenant is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from doctrain import errors
from doctrain.v1 import training_pb2 as pb
from testkit.coordinator import coordinators
from testkit.indexing import indexing
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(90)]


async def test_a_tenant_sees_its_limits_and_what_of_them_is_in_use(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served, indexing(served) as indexer:
        operator = await served.client(await served.key(3))
        await operator.fleet.put_plan(
            "team", slots=3, open_trainings=7, open_documents=50, training_documents=20, requests_per_second=100.5, upload_bytes=1_000
        )
        acme, other = await served.tenant("acme", "team"), await served.tenant("other", "team")
        indexer.gates = {name: asyncio.Event() for name in ("a", "b")}
        documents = [pb.DocumentInput(document_id=name, content=b"Said by " + name.encode()) for name in ("a", "b", "c")]
        await acme.start_training(documents, training_task_id="t")

        async def waits() -> bool:
            return indexer.at_gate == {"a", "b"} and (await acme.get_training("t")).completed == 1

        await wait_until(waits)
        assert await acme.get_limits() == pb.GetLimitsResponse(
            plan="team",
            slots=pb.Allowance(used=3, limit=3),
            open_trainings=pb.Allowance(used=1, limit=7),
            open_documents=pb.Allowance(used=2, limit=50),
            upload_bytes=pb.Allowance(used=27, limit=1_000),
            training_documents=20,
            requests_per_second=100.5,
            document_bytes=512 * 2**20,
            request_bytes=64 * 2**20,
            request_documents=10_000,
            request_fields=250_000,
        )
        unused = await other.get_limits()
        assert [one.used for one in (unused.slots, unused.open_trainings, unused.open_documents, unused.upload_bytes)] == [0] * 4
        for gate in indexer.gates.values():
            gate.set()
        await acme.wait("t")
        left = await acme.get_limits()
        assert (left.slots.used, left.open_trainings.used, left.open_documents.used, left.upload_bytes.used) == (0, 0, 0, 27)
        await operator.fleet.suspend_tenant("acme", reason="Unpaid")
        told = await acme.get_limits()
        assert (told.suspended, told.suspend_reason) == (True, "Unpaid")


async def test_files_that_cannot_have_room_are_refused_before_one_is_sent_and_what_was_sent_stays(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doctrain.client.UPLOADS_AT_ONCE", 1)  # those at the same time may pass the plan
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text(name * 200)
    async with coordinators(postgres, tmp_path) as served:
        operator = await served.client(await served.key(3))
        await operator.fleet.put_plan("team", slots=1, upload_bytes=300)
        acme = await served.tenant("acme", "team")
        await acme.upload(b"d" * 64)
        for dry in (True, False):
            with pytest.raises(
                errors.QuotaExceededError, match="300 bytes of uploads, and 64 are kept; these files have together 600 or more"
            ):
                await acme.train_folder(folder, validate_only=dry)
        assert (await acme.get_limits()).upload_bytes.used == 64
        await operator.fleet.update_plan("team", upload_bytes=850)
        await acme.upload(b"e" * 200)  # so that each of the files may be what is kept
        with pytest.raises(errors.QuotaExceededError, match="What was stored for it already stays, and counts, until it is dropped"):
            await acme.train_folder(folder)
        assert (await acme.get_limits()).upload_bytes.used == 664
        await operator.fleet.update_plan("team", upload_bytes=864)
        assert (await acme.train_folder(folder)).training.total == 3
