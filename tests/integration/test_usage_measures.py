"""What metrics tell of tenants' use: the largest by name, all others together, and no more series than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import metrics
from doctrain_coordinator.core.named_tenants import MOST_NAMED
from doctrain_coordinator.dispatch import usage_measures
from doctrain_worker.pipeline.processor import DocumentTask, Done, Outcome, ShardContext, StageTiming
from testkit.coordinator import coordinators
from testkit.gauges import told
from testkit.waiting import wait_until
from testkit.worker import worker

pytestmark = [pytest.mark.timeout(120)]
SMALL = 2
"""Tenants beyond those that are named."""


class Processor:
    """Fetches, and does something of its own."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        return Done(chunks=1, stages=(StageTiming("fetch", 0.0, 0.25, {"bytes": 100}), StageTiming("mine", 0.25, 0.5, {})))


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(usage_measures, name, 0.1)


async def test_what_a_tenant_used_today_is_told_by_the_leader_alone(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, count=2, metrics_listen="127.0.0.1:0") as served:
        acme = await served.tenant("acme")
        async with worker(served.broker, Processor(), served.running[0].address, worker_key=await served.key(2)):
            numbered = pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=20)
            await acme.start_training(numbered=numbered, training_task_id="t")
            await acme.wait("t")

        def over_days(values: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
            """Without the day: the test may run at midnight."""
            found: dict[tuple[str, ...], float] = {}
            for (tenant, _, *rest), value in values.items():
                found[tenant, *rest] = found.get((tenant, *rest), 0.0) + value
            return found

        documents = {("acme", "trained"): 20.0, ("acme", "unchanged"): 0.0, ("acme", "failed"): 0.0}
        await wait_until(lambda: over_days(told(metrics.USED_DOCUMENTS)) == documents, 30)
        assert over_days(told(metrics.USED_BYTES)) == {("acme",): 2_000}
        assert over_days(told(metrics.USED_PAGES)) == {("acme",): 0}
        await wait_until(lambda: over_days(told(metrics.USED_SECONDS)) == {("acme", "fetch"): 5.0, ("acme", "other"): 10.0})


async def test_the_largest_tenants_are_told_by_name_and_no_more_days_than_two(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path, metrics_listen="127.0.0.1:0") as served:
        database = await served.database()
        count = MOST_NAMED + SMALL
        await database.execute("insert into tenant (name, plan) select 't' || n, 'paid' from generate_series(1, $1::int) n", count)
        for ago in (0, 1, 2):
            await database.execute(
                "insert into usage select id, (now() at time zone 'utc')::date - $1::int, substr(name, 2)::int, 0, 0, 1, 10 from tenant",
                ago,
            )
            await database.execute(
                "insert into stage_usage select id, (now() at time zone 'utc')::date - $1::int, stage, 500 from tenant, "
                "unnest(array['fetch', 'mine', 'yours']) stage",
                ago,
            )
        series = MOST_NAMED + 1
        await wait_until(lambda: len(told(metrics.USED_PAGES)) == 2 * series, 30)
        for day in ("today", "yesterday"):
            assert told(metrics.USED_DOCUMENTS)[f"t{count}", day, "trained"] == count
            assert told(metrics.USED_DOCUMENTS)["_other", day, "trained"] == sum(range(1, SMALL + 1))
            assert told(metrics.USED_BYTES)["_other", day] == 10 * SMALL
            assert told(metrics.USED_SECONDS)["t3", day, "fetch"] == 0.5
            assert told(metrics.USED_SECONDS)["_other", day, "other"] == 0.5 * 2 * SMALL
        assert len(told(metrics.USED_SECONDS)) == 2 * series * 2


async def test_days_are_found_by_index_however_many_there_are(postgres: str, tmp_path: Path) -> None:
    async with coordinators(postgres, tmp_path) as served:
        database = await served.database()
        await database.execute("insert into tenant (name, plan) select 't' || n, 'paid' from generate_series(1, 100) n")
        days = "from tenant, generate_series(0, 99) ago"
        await database.execute(f"insert into usage select id, current_date - ago, 1, 0, 0, 0, 0 {days}")
        await database.execute(f"insert into stage_usage select id, current_date - ago, 'fetch', 1 {days}")
        await database.execute("analyze tenant, usage, stage_usage")
        for statement, arguments in (("days", "50"), ("stages", "'{1}', '{fetch}'")):
            await database.execute(f"prepare look_at_{statement} as {usage_measures.SQL[statement]}")
            plan = [row[0] for row in await database.fetch(f"explain execute look_at_{statement}({arguments})")]
            assert [line for line in plan if "usage_pkey" in line]
            assert not [line for line in plan if "Seq Scan" in line and "usage" in line]
