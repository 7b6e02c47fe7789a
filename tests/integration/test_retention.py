"""What is kept for some days only: ended trainings, uploads that nothing names, the audit log."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.removal import removals
from doctrain_coordinator.trainings.reading import Seen, Trainings
from doctrain_mesh.documents.artifacts import Origin
from doctrain_mesh.documents.blobs import BlobStore
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.indexing import indexing, train
from testkit.waiting import wait_until

pytestmark = [pytest.mark.timeout(120)]


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr(removals, "RETENTION_SECONDS", 0.0)
    monkeypatch.setattr(removals, "LOOK_SECONDS", 0.1)
    kept: dict[str, Any] = {"keep_trainings_days": 30.0, "keep_uploads_days": 10.0, "keep_audit_days": 100.0}
    async with coordinators(postgres, tmp_path, count=2, **kept) as running:
        yield running


def stored(served: Coordinators) -> set[str]:
    root = Path(served.settings.blob_url.removeprefix("file://"))
    return {path.read_text() for path in root.rglob("*") if path.is_file()}


async def test_a_list_goes_on_behind_a_training_that_is_removed_meanwhile(served: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, database = await served.tenant("acme"), await served.database()
    for number in range(6):
        await acme.start_training(
            numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=1), training_task_id=f"t{number}"
        )
    read = Trainings._read

    async def read_late(self: Trainings, tenant: int | None, ids: Collection[int]) -> list[Seen]:
        await database.execute("delete from training where task_id = 't4'")
        return await read(self, tenant, ids)

    monkeypatch.setattr(Trainings, "_read", read_late)
    assert [one.training_task_id async for one in acme.list_trainings(page_size=2)] == ["t5", "t3", "t2", "t1", "t0"]
    operator = await served.client(await served.key(3))
    assert [one.training.training_task_id async for one in operator.fleet.list_all_trainings(page_size=2)] == ["t5", "t3", "t2", "t1", "t0"]


async def test_an_old_training_is_found_no_more_and_what_it_indexed_stays(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    database = await served.database()
    async with indexing(served):
        old = (await train(acme, {"old": "The old harbour."})).training_task_id
        new = (await train(acme, {"new": "The new harbour."})).training_task_id
        missing = pb.DocumentInput(document_id="missing", uri=f"blob://{'0' * 64}")
        await acme.start_training([missing], training_task_id="failed")
        await acme.wait("failed")
        retried = (await acme.retry_failed("failed", retry_task_id="retry")).training_task_id
        await acme.wait(retried)
        open_one = (await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=2))).training
        await acme.pause(open_one.training_task_id)
        await database.execute(
            "update training set ended_at = ended_at - interval '31 days', created_at = created_at - interval '31 days' "
            "where task_id = any($1)",
            [old, "failed"],
        )

        async def gone() -> Any:
            return await database.fetchval("select count(*) = 0 from training where task_id = any($1)", [old, "failed"])

        await wait_until(gone, 30)
        await wait_until(lambda: database.fetchval("select count(*) = 0 from removed_training"))
        for call in (acme.get_training(old), anext(acme.watch(old)), acme.retry_failed("failed"), anext(acme.list_documents(old))):
            assert (await refused(call)).reason == "TRAINING_NOT_FOUND"
        kept = {training.training_task_id: training async for training in acme.list_trainings()}
        assert set(kept) == {new, "retry", open_one.training_task_id}
        assert kept["retry"].retry_of == ""
        assert await database.fetchval("select count(*) from document") == 1 + 1 + 2
        hits = {hit.document_id: hit.training_task_id for hit in await acme.search("harbour")}
        assert hits == {"old": "", "new": new}
        assert (await acme.retry_failed("retry")).retry_of == "", "a chain goes on from what is left of it"
        assert await acme.delete_documents(["old"]) == 1
        await train(acme, {"old": "The old harbour again."})


async def test_old_uploads_go_that_no_training_names(served: Coordinators) -> None:
    acme, other = await served.tenant("acme"), await served.tenant("other")
    database = await served.database()
    named, _ = await acme.upload(b"named"), await acme.upload(b"unnamed")
    numbers = await acme.upload(b"by its number")
    young = await acme.upload(b"young")
    await other.upload(b"named")
    await acme.start_training([pb.DocumentInput(document_id="a", uri=named.uri)])
    await acme.start_training(numbered=pb.NumberedDocuments(uri_template=f"{numbers.uri}/{{n}}/1", first=0, count=2))
    await database.execute("update upload set stored_at = now() - interval '11 days' where sha256 <> $1", young.sha256)

    async def left() -> Any:
        return await database.fetchval("select count(*) from upload") == 3

    await wait_until(left, 30)
    assert stored(served) == {"named", "by its number", "young"}
    assert await database.fetchval("select count(*) from upload where tenant = (select id from tenant where name = 'other')") == 0
    again = await acme.upload(b"unnamed")
    assert "unnamed" in stored(served)
    assert again.size == len(b"unnamed")


async def test_what_is_left_of_old_uploads_that_broke_off_goes(served: Coordinators) -> None:
    folder = Path(served.settings.blob_url.removeprefix("file://")) / "uploading" / "acme"
    folder.mkdir(parents=True)
    for name in ("whole", "half#1", "young", "young#2"):
        (folder / name).write_bytes(b"...")
        if not name.startswith("young"):
            os.utime(folder / name, (0, 0))
    await wait_until(lambda: {path.name for path in folder.iterdir()} == {"young", "young#2"})


async def test_pages_that_were_recognised_go_when_they_are_old(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "ARTIFACTS_SECONDS", 0.0)
    monkeypatch.setattr(removals, "LOOK_SECONDS", 0.1)
    blobs = tmp_path / "blobs"
    blobs.mkdir()

    async def keep(name: str, days: int) -> None:
        origin = Origin(1, "acme", "scan.pdf", b"digest")
        await BlobStore(blobs.as_uri()).artifacts.put(origin, name, name.encode())
        made = time.time() - days * 86400
        os.utime(blobs / origin.path / name, (made, made))

    def kept() -> set[str]:
        return {path.name for path in (blobs / "artifacts").rglob("*") if path.is_file()}

    async with coordinators(postgres, tmp_path, keep_slices_days=30.0) as served:
        await (await served.tenant("acme")).upload(b"upload")
        await keep("young", 29)
        for _ in range(2):
            await keep("old", 31)
            await wait_until(lambda: "old" not in kept(), 30)
            assert kept() == {"young"}
    async with coordinators(postgres, tmp_path, keep_slices_days=0.0) as served:
        await wait_until(lambda: not kept(), 30)
    assert stored(served) == {"upload"}


async def test_old_entries_of_the_audit_log_go(served: Coordinators) -> None:
    fleet = (await served.client(await served.key(3))).fleet
    database = await served.database()
    await fleet.put_plan("gold", slots=3)
    await database.execute("update audit_entry set happened_at = now() - interval '101 days'")
    await fleet.put_plan("gold", slots=4)

    async def one() -> bool:
        return len([entry async for entry in fleet.list_audit_log()]) == 1

    await wait_until(one)
