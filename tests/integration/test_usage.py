"""What is counted of a tenant's use: each document once, on its day, for its tenant alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import usage_pb2
from doctrain_mesh.postgres import sizes
from doctrain_worker.pipeline.processor import DocumentTask, Done, ErrorClass, Failure, Outcome, ShardContext, StageTiming
from testkit.coordinator import Coordinators, coordinators, refused
from testkit.pipelines import open_bench
from testkit.postgres import PostgresServer
from testkit.waiting import wait_until
from testkit.worker import worker

pytestmark = [pytest.mark.timeout(120)]
TEXT = "Some words.\n"
STAGES = (
    StageTiming("fetch", 0.0, 0.25, {"bytes": 100}),
    StageTiming("wait", 0.25, 7.0, {}),
    StageTiming("extract", 0.25, 0.5, {"bytes": 100, "pages": 3}),
)


class Processor:
    """Even numbers are trained, of the odd ones every fifth fails and the others are unchanged."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        number = int(document.document_id)
        if number % 2 == 0:
            return Done(chunks=1, stages=STAGES)
        if number % 5 == 0:
            return Failure(ErrorClass.PERMANENT, "BROKEN", "It is broken.", stages=STAGES[:2])
        return Done(unchanged=True, stages=STAGES[:2])


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, count=2) as running:
        yield running


def today() -> date:
    return datetime.now(UTC).date()


def total(days: list[usage_pb2.UsageDay]) -> tuple[int, ...]:
    return tuple(sum(getattr(day, name) for day in days) for name in ("trained", "unchanged", "failed", "pages", "bytes"))


async def test_every_document_is_counted_once_for_its_tenant(served: Coordinators) -> None:
    acme, other, idle = [await served.tenant(name) for name in ("acme", "other", "idle")]
    addresses = (one.address for one in served.running)
    async with worker(served.broker, Processor(), *addresses, worker_key=await served.key(2)):
        for client, count in ((acme, 1_000), (other, 10)):
            numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)
            await client.start_training(numbered=numbered, training_task_id="t")
            await client.wait("t")
    since = today() - timedelta(days=1)  # the test may run at midnight

    async def counted() -> bool:
        return sum(total(await acme.get_usage(first_day=since))[:3]) == 1_000

    await wait_until(counted, 30)
    days = await acme.get_usage(first_day=since)
    assert total(days) == (500, 400, 100, 1_500, 100_000)
    stages = {stage.stage: stage.duration.ToTimedelta() for stage in days[0].stages}
    if len(days) == 1:
        assert stages == {"fetch": timedelta(seconds=250), "extract": timedelta(seconds=250)}
    database = await served.database()
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    assert total(await other.get_usage(first_day=since)) == (5, 4, 1, 15, 1_000)
    assert await idle.get_usage(first_day=since) == []
    fleet = (await served.client(await served.key(3))).fleet
    assert await fleet.get_tenant_usage("acme", first_day=since) == days
    assert await fleet.get_tenant_usage("acme", first_day=since - timedelta(days=9), last_day=since - timedelta(days=2)) == []
    assert (await refused(acme.fleet.get_tenant_usage("other"))).reason == "PERMISSION_DENIED"
    assert (await refused(fleet.get_tenant_usage("nobody"))).reason == "TENANT_NOT_FOUND"
    assert await acme.get_usage(last_day=date.max) == []
    for first, last in ((today(), since), (since - timedelta(days=400), since)):
        error = await refused(acme.get_usage(first_day=first, last_day=last))
        assert [violation.field for violation in error.violations] == ["period.first_day"]


async def test_counting_that_waits_takes_no_connection_from_calls(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "CALLS", 1)
    async with coordinators(postgres, tmp_path) as served:
        acme, fleet = await served.tenant("acme"), (await served.client(await served.key(3))).fleet
        database, looking = await served.database(), await served.database()
        async with database.transaction():
            await database.execute("lock table usage in access exclusive mode")
            async with worker(served.broker, Processor(), served.running[0].address, worker_key=await served.key(2)):
                await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=5), training_task_id="t")
                await acme.wait("t")
            waits = "select count(*) = 1 from pg_locks where relation = 'usage'::regclass and not granted"
            await wait_until(lambda: looking.fetchval(waits))
            async with asyncio.timeout(20):
                assert await fleet.list_plans()
            assert await looking.fetchval(waits)


async def test_a_document_counts_the_pages_and_bytes_that_its_stages_tell(
    served: Coordinators, shared_postgres: PostgresServer, tmp_path: Path
) -> None:
    """A text has no pages, and a fetch that failed has no bytes."""
    async with open_bench(shared_postgres, tmp_path) as bench:
        text = await bench.train("plain.txt", TEXT.encode())
        missing = await bench.pipeline.process(DocumentTask(ordinal=0, document_id="0", uri="file:///nowhere.txt"), bench.shard)
    outcomes = [text, missing]
    assert isinstance(text, Done)
    assert isinstance(missing, Failure)
    assert [stage.name for stage in missing.stages] == ["fetch"]

    class Recorded:
        async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            return outcomes[int(document.document_id)]

    acme = await served.tenant("acme")
    async with worker(served.broker, Recorded(), served.running[0].address, worker_key=await served.key(2)):
        await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=2), training_task_id="t")
        await acme.wait("t")
    since = today() - timedelta(days=1)

    async def counted() -> bool:
        return sum(total(await acme.get_usage(first_day=since))[:3]) == 2

    await wait_until(counted, 30)
    assert total(await acme.get_usage(first_day=since)) == (1, 0, 1, 0, len(TEXT))


async def test_what_ended_of_a_cancelled_training_is_counted_and_the_rest_is_not(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=10)
    await acme.start_training(numbered=numbered, training_task_id="t")
    await acme.cancel("t")
    database = await served.database()
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    assert await acme.get_usage(first_day=today() - timedelta(days=1)) == []


@pytest.mark.parametrize(
    "stage",
    [
        StageTiming("fe\0tch", 0.0, 1.0, {"bytes": 5}),
        StageTiming("fetch", 0.0, 1.0, {"by\0tes": 5, "pages": 2}),
        StageTiming("extract", 0.0, 1.0),
    ],
)
async def test_stages_that_no_database_stores_end_no_coordinator(served: Coordinators, stage: StageTiming) -> None:
    class Strange:
        async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            return Done(chunks=1, stages=(stage,))

    acme = await served.tenant("acme")
    async with worker(served.broker, Strange(), *(one.address for one in served.running), worker_key=await served.key(2)):
        numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=1)
        await acme.start_training(numbered=numbered, training_task_id="t")
        await acme.wait("t")
        database = await served.database()
        await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    assert total(await acme.get_usage(first_day=today() - timedelta(days=1))) == (1, 0, 0, 0, 0)
    assert {stage.name async for document in acme.list_documents("t") for stage in document.stages} <= {"fe\ufffdtch", "fetch", "extract"}


async def test_a_shard_whose_stages_cannot_be_counted_is_counted_without_them_and_its_neighbours_with_them(
    served: Coordinators, caplog: pytest.LogCaptureFixture
) -> None:
    acme = await served.tenant("acme")
    async with worker(served.broker, Processor(), *(one.address for one in served.running), worker_key=await served.key(2)):
        for name in ("bad", "worse", "good"):
            numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=1)
            await acme.start_training(numbered=numbered, training_task_id=name)
            await acme.wait(name)
    database = await served.database()
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    async with database.transaction():
        await database.execute("delete from usage")
        for name, stages in (("bad", '[["fe\\u0000tch",0,1,{"bytes":5}]]'), ("worse", '{"no": "array"}')):
            await database.execute(
                "update document set stages = $2 where training = (select id from training where task_id = $1)", name, stages
            )
        await database.execute("update shard set counted = false")
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    assert total(await acme.get_usage(first_day=today() - timedelta(days=1))) == (3, 0, 0, 3, 100)
    told = [record for record in caplog.records if "cannot be counted" in record.message]
    assert len(told) == 2


async def test_what_is_counted_ends_at_a_bound_instead_of_overflowing(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    async with worker(served.broker, Processor(), *(one.address for one in served.running), worker_key=await served.key(2)):
        numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=1)
        await acme.start_training(numbered=numbered, training_task_id="t")
        await acme.wait("t")
    database = await served.database()
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    async with database.transaction():
        await database.execute("update usage set bytes = 10^18::bigint, pages = 10^18::bigint")
        await database.execute("update stage_usage set took_ms = 10^14::bigint")
        await database.execute(
            "update document set stages = $1", '[["fetch",0,-5,{"bytes":-9223372036854775808}],["fetch",0,9,{"bytes":9223372036854775807}]]'
        )
        await database.execute("update shard set counted = false")
    await wait_until(lambda: database.fetchval("select bool_and(counted) from shard"))
    days = await acme.get_usage(first_day=today() - timedelta(days=1))
    assert total(days) == (2, 0, 0, 10**18, 10**18)
    assert {stage.duration.ToMilliseconds() for stage in days[0].stages} == {10**14}
