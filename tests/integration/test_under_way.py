"""How far a long document is, while it runs: from its stages in the worker to watches, lists and the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import pytest

import doctrain
from doctrain.v1 import training_pb2
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Done, Outcome, ShardContext, StageTiming
from testkit import pictures
from testkit.coordinator import Coordinators, coordinators
from testkit.limits import LIMITS
from testkit.pipelines import open_bench, replaced
from testkit.postgres import PostgresServer
from testkit.waiting import wait_until
from testkit.worker import worker

pytestmark = [pytest.mark.timeout(90)]


@dataclass
class Slow:
    """A processor whose document ``long`` tells how far it is as often as the test lets it, and ends when that says so."""

    pages: int = 0
    wakes: asyncio.Event = field(default_factory=asyncio.Event)
    ends: bool = False

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        while document.document_id == "long" and not self.ends:
            stages = [
                StageTiming("fetch", time.time(), 0.1),
                StageTiming("ocr", time.time(), 1.0, {"pages": self.pages, "pages_in_all": 40}),
            ]
            shard.tell(document.ordinal, stages)
            self.wakes.clear()
            await self.wakes.wait()
        return DONE

    def read(self, pages: int) -> None:
        """The document has come so far."""
        self.pages = pages
        self.wakes.set()

    def end(self) -> None:
        """Lets it end."""
        self.ends = True
        self.wakes.set()


@pytest.fixture
async def served(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coordinators]:
    monkeypatch.setattr("doctrain_worker.shards.reports.LONG_SECONDS", 0.3)
    async with coordinators(postgres, tmp_path, beat_seconds=0.1) as running:
        yield running


def far(documents: Sequence[training_pb2.Document]) -> dict[str, int]:
    """The pages that each has come to."""
    return {document.document_id: document.stages[-1].counts["pages"] for document in documents if document.stages}


def has_told(updates: Sequence[doctrain.Update], pages: int) -> bool:
    """Whether the last update says that the long document has come so far, and nothing of others."""
    return bool(updates) and far(updates[-1].under_way) == {"long": pages}


async def listed(client: doctrain.AsyncClient, task_id: str) -> dict[str, int]:
    return far([document async for document in client.list_documents(task_id)])


async def test_a_watch_and_a_list_tell_how_far_a_long_document_is(served: Coordinators) -> None:
    slow = Slow()
    acme = await served.tenant("acme")
    async with worker(served.broker, slow, served.running[0].address, worker_key=await served.key(2)):
        documents = [training_pb2.DocumentInput(document_id=name, content=b"x", metadata={"a": "b"}) for name in ("short", "long", "last")]
        task_id = (await acme.start_training(documents)).training.training_task_id
        told: list[doctrain.Update] = []

        async def watch() -> None:
            async for update in acme.watch(task_id):
                told.append(update)

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            for pages in (4, 8, 36):
                slow.read(pages)
                await wait_until(partial(has_told, told, pages))
                assert await listed(acme, task_id) == {"long": pages}
            (document,) = told[-1].under_way
            slow.end()
    assert (document.state, document.uri[:7], dict(document.metadata)) == (training_pb2.DOCUMENT_STATE_PROCESSING, "blob://", {})
    assert [stage.name for stage in document.stages] == ["fetch", "ocr"]
    assert document.start_time.ToSeconds() <= document.stages[0].start_time.ToSeconds() + 1
    assert not document.HasField("duration")
    assert told[-1].training.completed == 3
    assert told[-1].under_way == ()
    assert await listed(acme, task_id) == {}


async def test_what_is_told_of_documents_is_gone_with_their_worker(served: Coordinators) -> None:
    slow = Slow()
    acme = await served.tenant("acme")
    async with worker(served.broker, slow, served.running[0].address, worker_key=await served.key(2), drain_seconds=0.1):
        task_id = (await acme.start_training([training_pb2.DocumentInput(document_id="long", content=b"x")])).training.training_task_id
        slow.read(4)

        async def is_told() -> bool:
            return await listed(acme, task_id) == {"long": 4}

        await wait_until(is_told)
    assert await listed(acme, task_id) == {}
    assert (await acme.get_training(task_id)).in_progress == 0


async def test_a_pipeline_tells_its_pages_and_then_its_chunks(shared_postgres: PostgresServer, tmp_path: Path) -> None:
    drawn = [pictures.page([f"These are the words of page {number}"], size=(1000, 400)) for number in range(1, 25)]
    told: list[tuple[str, dict[str, object]]] = []
    async with open_bench(shared_postgres, tmp_path) as bench, replaced(bench, LIMITS) as own:

        def tell(ordinal: int, stages: Sequence[StageTiming]) -> None:
            told.append((stages[-1].name, dict(stages[-1].attributes)))
            extracts = [stage for stage in stages if stage.name == "extract"]
            told.extend((stage.name, dict(stage.attributes)) for stage in extracts)

        shard = msgspec.structs.replace(bench.shard, tell=tell)
        done = await own.train("long.tif", pictures.saved(drawn[0], "TIFF", drawn[1:]), shard=shard)
    assert isinstance(done, Done)
    pages = {facts["pages"] for name, facts in told if name == "extract" and facts.get("pages_in_all") == 24}
    assert pages
    assert pages <= {4, 8, 12, 16, 20, 24}
    assert next(name for name, _ in told) == "fetch"
    assert ("embed", {"chunks": 0, "chunks_in_all": done.chunks}) in told
    facts = {stage.name: stage.attributes for stage in done.stages}
    assert (facts["extract"].get("pages_in_all"), facts["embed"]) == (None, {"chunks": done.chunks})
