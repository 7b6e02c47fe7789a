"""Pages that were recognised are not recognised again: after a crash, with another way to cut, on another worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import doctrain
from doctrain.v1 import training_pb2
from doctrain_mesh import postgres
from doctrain_mesh.documents.artifacts import Artifacts, Origin
from doctrain_mesh.documents.blobs import BlobStore
from doctrain_mesh.errors import BlobUnavailableError
from doctrain_server.services import worker
from doctrain_worker.pipeline.plugins import Stages
from doctrain_worker.pipeline.processor import Done, ErrorClass, Failure, ShardContext
from doctrain_worker.pipeline.wire import ReadSlice, Slice
from testkit import pictures
from testkit.coordinator import coordinators
from testkit.pipelines import TESTS, Bench, replaced, running_shard
from testkit.postgres import PostgresServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("kept slices"), pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)


@pytest.fixture
def artifacts() -> Artifacts:
    return BlobStore("memory:///").artifacts


def scan(*pages: int) -> bytes:
    drawn = [pictures.page([f"These are the words of page {number}"], size=(1000, 400)) for number in pages]
    return pictures.saved(drawn[0], "TIFF", drawn[1:])


SCAN = scan(*range(1, 11))


async def trained(bench: Bench, name: str, content: bytes = SCAN, shard: ShardContext | None = None, **fields: Any) -> dict[str, Any]:
    """The pages that were recognised, and those that were kept, when the document is read whatever the index holds."""
    done = await bench.train(name, content, shard=msgspec.structs.replace(shard or bench.shard, retrain=True), **fields)
    assert isinstance(done, Done), done
    facts = {stage.name: stage.attributes for stage in done.stages}
    return {"ocr": facts.get("ocr", {}).get("pages"), "kept": facts["extract"].get("pages_kept")}


async def test_of_a_document_that_crashed_only_what_is_left_is_recognised(bench: Bench, artifacts: Artifacts) -> None:
    async with replaced(bench, stages=Stages(read="testkit.stages:stumble"), artifacts=artifacts) as own:
        crashed = await own.train("stumble.tif", SCAN)
        assert isinstance(crashed, Failure)
        assert crashed.error_class is ErrorClass.CRASH
        assert await trained(own, "stumble.tif") == {"ocr": 6, "kept": 4}
    text = " ".join(row["text"] for row in await bench.rows("stumble.tif"))
    assert all(f"words of page {number}" in text for number in range(1, 11))


async def test_another_chunker_and_another_worker_recognise_nothing_again(bench: Bench, artifacts: Artifacts) -> None:
    async with replaced(bench, artifacts=artifacts) as own:
        assert await trained(own, "cut.tif") == {"ocr": 10, "kept": None}
    first = [row["text"] for row in await bench.rows("cut.tif")]
    async with replaced(bench, stages=Stages(chunk="testkit.stages:by_slice"), artifacts=artifacts) as own:
        assert await trained(own, "cut.tif") == {"ocr": None, "kept": 10}
    second = [row["text"] for row in await bench.rows("cut.tif")]
    assert (len(second), " ".join(second).split()) == (3, " ".join(first).split())


async def test_what_is_kept_is_of_one_document_of_one_tenant_with_these_bytes_read_in_this_way(bench: Bench, artifacts: Artifacts) -> None:
    other = msgspec.structs.replace(await running_shard(bench.pool, 31), tenant=2, tenant_id="globex")
    small = scan(1, 2)
    fresh = {"ocr": 2, "kept": None}
    async with replaced(bench, artifacts=artifacts) as own:
        assert await trained(own, "one.tif", small) == fresh
        assert await trained(own, "one.tif", small, other) == fresh
        assert await trained(own, "two.tif", small) == fresh
        assert await trained(own, "one.tif", scan(3, 2)) == fresh
        assert await trained(own, "one.tif", small) == {"ocr": None, "kept": 2}
    async with replaced(bench, replace(own.pipeline.limits, ocr_languages="eng"), artifacts=artifacts) as own:
        assert await trained(own, "one.tif", small) == fresh


def value(part: str = "", first: int = 1, last: int = 2, **fields: Any) -> bytes:
    return msgspec.msgpack.encode(Slice(part, "image/tiff", [], first, last, **fields))


UNSOUND = {
    "no slice": ReadSlice("", 1, 2, b"\x01"),
    "of another part": ReadSlice("", 1, 2, value("other")),
    "of other pages": ReadSlice("", 1, 2, value(first=2)),
    "of too many pages": ReadSlice("", 1, 100_000, value(last=100_000)),
    "more recognised than there are": ReadSlice("", 1, 2, value(recognised=3)),
}


@pytest.mark.parametrize("name", UNSOUND)
async def test_what_a_child_made_up_is_neither_kept_nor_handed_on(bench: Bench, artifacts: Artifacts, name: str) -> None:
    async with replaced(bench, artifacts=artifacts) as own:
        assert await trained(own, "kept.tif", scan(1, 2)) == {"ocr": 2, "kept": None}
        (made,) = [path async for path in names(artifacts)]
        origin, file = Origin(1, "acme", "kept.tif", bytes.fromhex(made.split("/")[-2])), made.rpartition("/")[2]
        await artifacts.put(origin, file, msgspec.msgpack.encode(UNSOUND[name]))
        assert await trained(own, "kept.tif", scan(1, 2)) == {"ocr": 2, "kept": None}
        assert (await artifacts.get(origin, file)) != msgspec.msgpack.encode(UNSOUND[name])


async def names(artifacts: Artifacts) -> AsyncIterator[str]:
    async for meta in artifacts._listed("artifacts"):
        yield meta["path"]


class Broken(Artifacts):
    """A store that answers nothing, or, when it ``hangs``, never."""

    hangs = False

    async def put(self, *_: object) -> None:
        await self._fail()

    async def sizes(self, *_: object) -> dict[str, int]:
        await self._fail()
        return {}

    async def _fail(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        raise BlobUnavailableError("The object store did not answer.")


async def test_a_store_that_fails_or_hangs_costs_no_document(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctrain_worker.pipeline.kept.finding.READ_SECONDS", 0.2)
    monkeypatch.setattr("doctrain_worker.pipeline.kept.storing.STORE_SECONDS", 0.2)
    broken = Broken(BlobStore("memory:///")._store)
    async with replaced(bench, artifacts=broken) as own:
        assert await trained(own, "lone.tif", scan(1)) == {"ocr": 1, "kept": None}
        broken.hangs = True
        assert await trained(own, "lone.tif", scan(1)) == {"ocr": 1, "kept": None}


async def test_nothing_is_kept_of_a_document_that_was_deleted_meanwhile(bench: Bench, artifacts: Artifacts) -> None:
    async with postgres.acquired(bench.pool, "test") as c:
        await c.execute(
            "insert into indexed_document (tenant, document_id, training, index_order, deleted) values (1, 'gone.tif', 9, 9, true)"
        )
    async with replaced(bench, artifacts=artifacts) as own:
        assert await trained(own, "gone.tif", scan(1)) == {"ocr": 1, "kept": None}
        assert [path async for path in names(artifacts)] == []
        later = await running_shard(bench.pool, 10)
        assert await trained(own, "gone.tif", scan(1), later) == {"ocr": 1, "kept": None}
        assert len([path async for path in names(artifacts)]) == 1


@pytest.mark.parametrize("state", ["being deleted", "gone"])
async def test_nothing_is_kept_for_a_tenant_that_was_deleted_meanwhile(bench: Bench, artifacts: Artifacts, state: str) -> None:
    async with postgres.acquired(bench.pool, "test") as c:
        gone = await c.fetchval("insert into tenant (name, plan, suspended_at, deleting) values ('gone', 'free', now(), true) returning id")
        if state == "gone":
            await c.execute("delete from tenant where id = $1", gone)
            await c.execute("insert into tenant (name, plan) values ('gone', 'free')")
    shard = msgspec.structs.replace(await running_shard(bench.pool, 40 + gone), tenant=gone, tenant_id="gone")
    async with replaced(bench, artifacts=artifacts) as own:
        assert await trained(own, "late.tif", scan(1), shard) == {"ocr": 1, "kept": None}
        assert [path async for path in names(artifacts)] == []
    async with postgres.acquired(bench.pool, "test") as c:
        await c.execute("delete from tenant where name = 'gone'")


class CutOff(Artifacts):
    """A store whose answers do not come in time, though it keeps what it is given."""

    async def put(self, *given: Any) -> None:
        await super().put(*given)
        await asyncio.Event().wait()


async def test_nothing_stays_of_what_nobody_knows_to_be_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctrain_worker.pipeline.kept.storing.STORE_SECONDS", 0.2)
    cut_off = CutOff(BlobStore("memory:///")._store)
    async with replaced(bench, artifacts=cut_off) as own:
        assert await trained(own, "cut off.tif", scan(1)) == {"ocr": 1, "kept": None}
    assert [path async for path in names(cut_off)] == []


async def test_a_tenant_sees_which_pages_were_recognised_and_a_delete_leaves_none(shared_postgres: PostgresServer, tmp_path: Path) -> None:
    async with shared_postgres.database() as url, coordinators(url, tmp_path) as served:
        settings = replace(served.settings, name="w", worker_key=await served.key(2), coordinators=served.running[0].address, children=1)
        async with worker.running(settings, broker=served.broker, registry=served.registry):
            acme = await served.tenant("acme")
            assert await pages(acme, retrain=False) == {"pages": 10}
            assert await pages(acme, retrain=True) == {}
        kept = tmp_path / "blobs" / "artifacts"
        assert len([path for path in kept.rglob("*") if path.is_file()]) == 3
        await acme.delete_documents(["scan.tif"])
        assert [path for path in kept.rglob("*") if path.is_file()] == []


async def pages(client: doctrain.AsyncClient, *, retrain: bool) -> dict[str, int]:
    """What the stage ``ocr`` counts, as it is listed."""
    documents = [training_pb2.DocumentInput(document_id="scan.tif", content=SCAN)]
    ended = await client.wait((await client.start_training(documents, retrain=retrain)).training.training_task_id)
    (listed,) = [document async for document in client.list_documents(ended.training_task_id)]
    return next((dict(stage.counts) for stage in listed.stages if stage.name == "ocr"), {})
