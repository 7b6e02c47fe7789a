"""The group commit on a real Postgres: begun once, recorded once, counted as the rows say, one bad block alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from doctrain_coordinator.core.blocks import Block, Failure
from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.dispatch import dispatcher, grants
from doctrain_coordinator.store import planning
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tracking import commits, heartbeats, recording
from doctrain_coordinator.tracking.commits import Committer
from doctrain_coordinator.tracking.group_transaction import Batch, GroupTransaction
from doctrain_coordinator.tracking.items import Begin, Item
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.pacing import Pace
from testkit.core import NOW_MS, Core, core, results
from testkit.postgres import PostgresServer
from testkit.waiting import wait_until


@pytest.fixture
async def one(postgres: str) -> AsyncIterator[Core]:
    async with core(postgres) as made:
        yield made


async def test_a_shard_is_begun_once_and_its_holder_is_told_so_again(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    mine, other = await one.open("w1"), await one.open("w2")
    shard = (await one.shards(training))[0]["id"]
    assert await one.begin(mine.session, shard, 1) is Begun.NOT_YOURS
    number = await one.grant(shard)
    answers = await asyncio.gather(*(one.begin(session, shard, number) for session in (mine.session, other.session)))
    assert sorted(answer.name for answer in answers) == ["BEGUN", "NOT_YOURS"]
    holder, loser = (mine, other) if answers[0] is Begun.BEGUN else (other, mine)
    assert await one.begin(holder.session, shard, number) is Begun.BEGUN
    assert await one.begin(loser.session, shard, number) is Begun.NOT_YOURS
    assert await one.begin(holder.session, shard, number - 1) is Begun.NOT_YOURS
    row = await one.row("training", training)
    assert (row["state"], row["version"]) == (TrainingState.PROCESSING, 2)
    assert row["started_at"] is not None


async def test_a_lost_session_begins_nothing(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    session = await one.open("w")
    shard = (await one.shards(training))[0]["id"]
    number = await one.grant(shard)
    await one.sessions.leave(session.session)
    assert await one.begin(session.session, shard, number) is Begun.SESSION_LOST
    assert (await one.shards(training))[0]["state"] == ShardState.DISPATCHED


async def test_results_are_recorded_once_and_a_repeated_last_report_is_known(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    session = await one.open("w")
    shard, number = await one.running_shard(session.session, training)
    block = results(0, 6, failed=[Failure(2, 1, "ENCRYPTED", "It is encrypted.")], running=[6, 7], tries=[(4, 3)])
    for _ in range(2):
        assert await one.report(session.session, shard, number, block) == (True, False, [])
        await one.sums_hold(training)
    row = (await one.shards(training))[0]
    assert (row["open"], row["running"]) == (4, [6, 7])
    for _ in range(2):
        assert await one.report(session.session, shard, number, results(6, 4)) == (True, True, [])
    await one.sums_hold(training)
    row = await one.row("training", training)
    assert (row["completed"], row["failed"], row["state"]) == (9, 1, TrainingState.COMPLETED_WITH_FAILURES)
    assert row["ended_at"] is not None
    assert await one.used(row["tenant"]) == 0
    documents = await one.pool.fetch("select * from document where training = $1 order by ordinal", training)
    assert [d["tries"] for d in documents] == [1, 1, 1, 1, 3, 1, 1, 1, 1, 1]
    assert (documents[2]["error_code"], documents[2]["error_class"]) == ("ENCRYPTED", 1)
    assert {d["attempt"] for d in documents} == {number}
    assert documents[5]["started_at"].timestamp() * 1000 == NOW_MS + 5


@pytest.mark.parametrize(
    ("failed", "state"), [(0, TrainingState.COMPLETED), (1, TrainingState.COMPLETED_WITH_FAILURES), (2, TrainingState.FAILED)]
)
async def test_how_a_training_ends(one: Core, failed: int, state: TrainingState) -> None:
    training = await one.training(await one.tenant("a"), "t", 2)
    session = await one.open("w")
    shard, number = await one.running_shard(session.session, training)
    failures = [Failure(ordinal, 1, "X", "No.") for ordinal in range(failed)]
    await one.report(session.session, shard, number, results(0, 2, failed=failures))
    assert (await one.row("training", training))["state"] == state


async def test_a_training_that_still_loads_does_not_end(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 2, sealed=False)
    session = await one.open("w")
    shard, number = await one.running_shard(session.session, training)
    assert await one.report(session.session, shard, number, results(0, 2)) == (True, True, [])
    row = await one.row("training", training)
    assert (row["state"], row["ended_at"]) == (TrainingState.PROCESSING, None)


async def test_who_does_not_hold_the_shard_records_nothing(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    mine, other = await one.open("w1"), await one.open("w2")
    shard, number = await one.running_shard(mine.session, training)
    for session, attempt in ((other.session, number), (mine.session, number + 1), (mine.session, 0)):
        assert await one.report(session, shard, attempt, results(0, 10)) == (False, False, [])
    await one.cancel(training)
    assert await one.report(mine.session, shard, number, results(0, 10)) == (False, False, [])
    row = await one.row("training", training)
    assert (row["completed"], row["state"]) == (0, TrainingState.CANCELLED)
    assert await one.report(mine.session, 10**9, 1, results(0, 10)) == (False, False, [])


async def test_a_bad_block_fails_alone(one: Core) -> None:
    tenant = await one.tenant("a")
    session = await one.open("w")
    held = [
        (training, *await one.running_shard(session.session, training))
        for training in [await one.training(tenant, f"t{n}", 10) for n in range(4)]
    ]
    nul = results(0, 10, failed=[Failure(3, 1, "A\x00B", "with \x00 in it")])
    blocks = [results(0, 10), nul, replace(results(0, 10), took=[1] * 9), results(0, 11)]
    answers = await one.reports([(session.session, shard, number, block) for (_, shard, number), block in zip(held, blocks, strict=True)])
    assert answers == [(True, True, []), (True, True, [3]), (True, True, [9]), (False, True, [])]
    for training, *_ in held:
        await one.sums_hold(training)
        assert (await one.row("training", training))["state"] in (TrainingState.COMPLETED, TrainingState.COMPLETED_WITH_FAILURES)
    stored = await one.pool.fetchrow("select * from document where training = $1 and ordinal = 3", held[1][0])
    assert stored is not None
    assert stored["error_code"] == "UNRECORDABLE"


@pytest.mark.parametrize("base_ms", [5_000, -(2**60), 2**60])
async def test_a_worker_whose_clock_is_wrong_still_records(one: Core, base_ms: int) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    session = await one.open("w")
    shard, number = await one.running_shard(session.session, training)
    before = time.time()
    for first in (0, 5):
        block = replace(results(first, 5), base_ms=base_ms)
        assert await one.report(session.session, shard, number, block) == (True, first == 5, [])
    await one.sums_hold(training)
    assert (await one.row("training", training))["state"] == TrainingState.COMPLETED
    started = await one.pool.fetch("select started_at from document where training = $1", training)
    assert all(abs(row["started_at"].timestamp() - before) < 60 for row in started)


async def test_what_only_postgres_refuses_becomes_a_failure_and_its_neighbours_commit(one: Core) -> None:
    """A constraint that no check before knows of stands for all that may be refused."""
    await one.pool.execute("alter table document add check (error_code <> 'FORBIDDEN'), add check (took_ms < 1000)")
    tenant = await one.tenant("a")
    session = await one.open("w")
    held = [
        (training, *await one.running_shard(session.session, training))
        for training in [await one.training(tenant, f"t{n}", 10) for n in range(5)]
    ]
    forbidden = results(0, 10, failed=[Failure(3, 1, "FORBIDDEN", "No."), Failure(4, 1, "FINE", "No.")], tries=[(3, 2), (5, 2)])
    slow = replace(results(0, 10), took=[1] * 5 + [5000, 1, 1, 1, 5000])
    blocks = [results(0, 10), forbidden, results(0, 10), slow, results(0, 10)]
    answers = await one.reports([(session.session, shard, number, block) for (_, shard, number), block in zip(held, blocks, strict=True)])
    good: tuple[bool, bool, list[int]] = (True, True, [])
    assert answers == [good, (True, True, [3]), good, (True, True, [5, 9]), good]
    for training, *_ in held:
        await one.sums_hold(training)
    rows = [await one.row("training", training) for training, *_ in held]
    assert [(row["completed"], row["failed"]) for row in rows] == [(10, 0), (8, 2), (10, 0), (8, 2), (10, 0)]
    codes = await one.pool.fetch("select error_code from document where training = $1 and state = 2 order by ordinal", held[1][0])
    assert [row["error_code"] for row in codes] == ["UNRECORDABLE", "FINE"]
    tries = await one.pool.fetch("select tries from document where training = $1 order by ordinal", held[1][0])
    assert [row["tries"] for row in tries] == [1, 1, 1, 1, 1, 2, 1, 1, 1, 1]


async def test_two_coordinators_record_one_training(postgres: str) -> None:
    async with core(postgres) as left, core(postgres) as right:
        tenant = await left.tenant("a", "paid")
        training = await left.training(tenant, "t", 200)
        sides = [(left, await left.open("w1")), (right, await right.open("w2"))]
        shards = [shard["id"] for shard in await left.shards(training)]

        async def work(side: Core, session: int, own: list[int]) -> None:
            for shard in own:
                number = await side.grant(shard)
                assert await side.begin(session, shard, number) is Begun.BEGUN
                first = (await side.row("shard", shard))["first"]
                for start in range(0, 10, 2):
                    blocks = [(session, shard, number, results(first + start, 2))] * 2
                    assert all(answer[0] for answer in await side.reports(blocks))

        await asyncio.gather(*(work(side, at.session, shards[n::2]) for n, (side, at) in enumerate(sides)))
        await left.sums_hold(training)
        row = await left.row("training", training)
        assert (row["completed"], row["state"]) == (200, TrainingState.COMPLETED)


@pytest.mark.xdist_group("postgres-faults")
async def test_a_commit_whose_outcome_is_unknown_is_made_again(own_postgres: PostgresServer) -> None:
    """The server's side of the connection is cut over and over while results are committed."""
    async with own_postgres.database() as url, core(url) as one:
        training = await one.training(await one.tenant("a", "paid"), "t", 60)
        session = await one.open("w")
        held = [await one.running_shard(session.session, training, place) for place in range(6)]

        async def cut() -> None:
            for _ in range(20):
                await one.pool.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and application_name = 'doctrain commits'"
                )
                await asyncio.sleep(0.03)

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            blocks = [(session.session, *held[n // 5], results(n * 2, 2)) for n in range(30)]
            answers = await asyncio.gather(*(one.report(*block) for block in blocks[:4]))
        answers += await one.reports(blocks[4:])
        assert all(recorded for recorded, _, _ in answers)
        await one.sums_hold(training)
        row = await one.row("training", training)
        assert (row["completed"], row["state"]) == (60, TrainingState.COMPLETED)


@pytest.mark.parametrize("analysed", [False, True])
async def test_hot_statements_use_their_indexes_whatever_the_statistics(one: Core, analysed: bool) -> None:
    tenant = await one.tenant("a")
    for n in range(3):
        await one.training(tenant, f"t{n}", 3000)
    if analysed:
        await one.pool.execute("analyze")
    async with one.pool.acquire() as c:
        await c.execute("set enable_seqscan = off; set plan_cache_mode = force_generic_plan")

        async def plan(statement: str, types: str = "", arguments: str = "") -> str:
            await c.execute(f"prepare p{types and f'({types})'} as {statement}")
            lines = await c.fetch(f"explain execute p{arguments and f'({arguments})'}")
            await c.execute("deallocate p")
            return "\n".join(line[0] for line in lines)

        done = await plan(
            recording.SQL["record_done"],
            "bigint, int, int, int, timestamptz, text, text",
            "1, 10, 19, 1, now(), '{1,1,1,1,1,1,1,1,1,1}', '{1,1,1,1,1,1,1,1,1,1}'",
        )
        assert "document_pkey" in done
        assert "Join" not in done
        assert "Nested" not in done
        assert "Seq Scan" not in done
        assert "shard_ready" in await plan(grants.SQL["runnable"], "int, int, bigint[]", "12, 64, '{1}'")
        assert "shard_in_flight" in await plan(grants.SQL["in_flight"])
        assert "shard_delayed" in await plan(dispatcher.SQL["next_delay_ends_in"])
        assert "shard_delayed" in await plan(dispatcher.SQL["end_delays"], "int", "9")
        assert "shard_in_flight" in await plan(grants.SQL["grant"], "bigint, int, bigint", "1, 5, 1")
        assert "Index Scan using shard_" in await plan(heartbeats.SQL["held_shards"], "bigint[]", "'{1}'")


async def test_plans_that_were_made_while_the_tables_were_small_use_the_indexes_of_large_ones(one: Core) -> None:
    results_of_ten = "9, 10, 19, 1, now(), '{1,1,1,1,1,1,1,1,1,1}', '{1,1,1,1,1,1,1,1,1,1}'"
    hot = {
        "claimants": (grants.SQL["claimants"], "", ""),
        "room": (grants.SQL["room"], "", ""),
        "in_flight": (grants.SQL["in_flight"], "", ""),
        "runnable": (grants.SQL["runnable"], "(int, int, bigint[])", "(12, 64, '{1}')"),
        "granted": (grants.SQL["grant"], "(bigint, int, bigint)", "(1, 5, 1)"),
        "dispatched": (dispatcher.SQL["dispatched"], "", ""),
        "end_delays": (dispatcher.SQL["end_delays"], "(int)", "(9)"),
        "next_delay": (dispatcher.SQL["next_delay_ends_in"], "", ""),
        "done": (recording.SQL["record_done"], "(bigint, int, int, int, timestamptz, text, text)", f"({results_of_ten})"),
    }
    tenant = await one.tenant("a")
    await one.training(tenant, "small", 1)
    await one.pool.execute("analyze")
    connection = await mesh_postgres.connect(one.url, settings=planning.BY_INDEX)
    try:
        for name, (statement, types, arguments) in hot.items():
            await connection.execute(f"prepare {name}{types} as {statement}")
            for _ in range(7):
                await connection.execute(f"execute {name}{arguments}")
        await one.training(tenant, "large", 3000)
        for name, (_, _, arguments) in hot.items():
            plan = "\n".join(line[0] for line in await connection.fetch(f"explain execute {name}{arguments}"))
            assert "Seq Scan" not in plan, (name, plan)
    finally:
        await mesh_postgres.close_connection(connection)


async def test_reports_are_heap_only_updates(one: Core) -> None:
    training = await one.training(await one.tenant("a", "paid"), "t", 500)
    session = await one.open("w")
    for place, row in enumerate(await one.shards(training)):
        shard, number = await one.running_shard(session.session, training, place)
        for first in range(row["first"], row["first"] + row["count"], 2):
            recorded, _, _ = await one.report(session.session, shard, number, results(first, min(2, row["first"] + row["count"] - first)))
            assert recorded

    async def hot() -> dict[str, float]:
        rows = await one.pool.fetch("select relname, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where n_tup_upd > 0")
        return {row["relname"]: row["n_tup_hot_upd"] / row["n_tup_upd"] for row in rows if row["n_tup_upd"] >= 250}

    ratios = await wait_until(lambda: _when(hot, "document"), timeout=15, what="statistics of the updates")
    assert ratios["document"] == 1.0
    # Grant, begin and the last report change the state, which partial indexes hold; the reports between do not.
    assert ratios["shard"] >= 0.5


async def _when(hot: object, table: str) -> dict[str, float] | None:
    ratios: dict[str, float] = await hot()  # type: ignore[operator]
    return ratios if {table, "shard"} <= ratios.keys() else None


async def test_what_came_at_once_is_committed_in_bounded_parts(one: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "MOST_WEIGHT", 60)
    sizes, run = list[int](), GroupTransaction.run

    async def counted(self: GroupTransaction, c: mesh_postgres.OwnConnection, items: Sequence[Item]) -> Batch:
        sizes.append(len(items))
        return await run(self, c, items)

    monkeypatch.setattr(GroupTransaction, "run", counted)
    session, answered = await one.open("w"), list[Begun]()
    one.committer.submit([Begin(session.session, number, 1, lambda outcome, _: answered.append(outcome)) for number in range(1000, 1135)])
    await wait_until(lambda: len(answered) == 135)
    assert set(answered) == {Begun.NOT_YOURS}
    assert sizes == [60, 60, 15]
    sizes.clear()
    # Blocks without a result cost something, too, and so does each document of which they say that it runs.
    shard, number = await one.running_shard(session.session, await one.training(await one.tenant("a"), "t", 10))
    await one.reports([(session.session, shard, number, Block(0, NOW_MS, [], [])) for _ in range(12)])
    assert sizes == [1, 6, 6], "the begin, and what came at once"
    sizes.clear()
    await one.reports([(session.session, shard, number, Block(0, NOW_MS, [], [], running=list(range(10)))) for _ in range(7)])
    assert sizes == [3, 3, 1]


async def test_as_many_items_as_are_enough_wait_for_no_others(one: Core) -> None:
    committer = Committer(Database(one.url), one.changes, Pace(patience=3600.0, enough=2))
    session, answered = await one.open("w"), list[Begun]()
    running = asyncio.create_task(committer.run())
    for number in (1000, 1001):
        committer.submit([Begin(session.session, number, 1, lambda outcome, _: answered.append(outcome), urgent=False)])
        for _ in range(3):  # it waits for more by then
            await asyncio.sleep(0)
    await wait_until(lambda: len(answered) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
