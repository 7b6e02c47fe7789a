"""Grants on a real Postgres: within every plan whoever leads, published after the commit, again when overdue."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from doctrain_coordinator.core import admission
from doctrain_coordinator.core.ledger import Begun
from doctrain_coordinator.core.states import SessionState, ShardState, TrainingState
from doctrain_coordinator.dispatch import dispatcher, grants, publisher
from doctrain_coordinator.dispatch.dispatcher import Lapses, Term
from doctrain_coordinator.store import planning
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.v1.shard_message_pb2 import ShardMessage
from testkit.core import Core, core, drained, message, results
from testkit.waiting import wait_until


@pytest.fixture
async def one(postgres: str) -> AsyncIterator[Core]:
    async with core(postgres, leads=True) as made:
        yield made


async def test_grants_stay_within_the_plan_and_go_on_as_slots_get_free(one: Core) -> None:
    tenant = await one.tenant("a")
    session = (await one.open("w", lanes=12)).session
    async with one.broker.consume(100) as consumer:
        training = await one.training(tenant, "t", 30)
        first = await message(consumer)
        assert (first.tenant_id, first.training_task_id, first.pricing_plan) == ("a", "t", "free")
        assert (first.number, first.first, first.count, first.max_concurrency, first.last_processed_ordinal) == (1, 0, 10, 5, -1)
        assert await drained(consumer) == []
        assert await one.used(tenant) == 5
        for expected in (10, 20, None):
            assert await one.begin(session, first.shard, first.number) is Begun.BEGUN
            await one.report(session, first.shard, first.number, results(first.first, 10))
            if expected is not None:
                first = await message(consumer)
                assert (first.first, first.shard_number) == (expected, expected // 10)
    assert (await one.row("training", training))["state"] == TrainingState.COMPLETED


async def test_nothing_is_granted_without_room_and_twice_the_lanes_with(one: Core) -> None:
    tenant = await one.tenant("a", "paid")
    async with one.broker.consume(100) as consumer:
        await one.training(tenant, "t", 60)
        assert await drained(consumer) == []
        await one.open("w", lanes=2)
        assert len(await drained(consumer)) == 4


async def test_a_shard_with_suspects_is_granted_one_slot(one: Core) -> None:
    tenant = await one.tenant("a")
    training = await one.training(tenant, "t", 10)
    await one.pool.execute("update shard set suspects = '{3}' where training = $1", training)
    async with one.broker.consume(10) as consumer:
        await one.open("w")
        assert (await message(consumer)).max_concurrency == 1


async def test_a_shard_handed_back_comes_again_after_its_delay_with_what_is_left(one: Core) -> None:

    tenant = await one.tenant("a")
    session = (await one.open("w")).session
    async with one.broker.consume(10) as consumer:
        await one.training(tenant, "t", 10)
        granted = await message(consumer)
        await one.begin(session, granted.shard, granted.number)
        await one.report(session, granted.shard, granted.number, results(0, 4))
        since = time.monotonic()
        await one.handbacks.release_yielded(session, (granted.shard, granted.number), why="later", delay_ms=700)
        again = await message(consumer)
        assert time.monotonic() >= since + 0.7
        assert (again.shard, again.number, again.last_processed_ordinal) == (granted.shard, granted.number + 1, 3)


async def test_a_paused_training_is_not_granted(one: Core) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    await one.control.pause(training)
    async with one.broker.consume(10) as consumer:
        await one.open("w")
        assert await drained(consumer) == []
        await one.control.resume(training)
        await message(consumer)


async def test_what_is_loaded_of_a_paused_training_waits_until_it_is_resumed(one: Core) -> None:
    training = await one.training(await one.tenant("a", "paid"), "t", 10, sealed=False)
    await one.control.pause(training)
    tenant = (await one.row("training", training))["tenant"]
    chunk = Chunk(10, 0, last=True)
    connection = await mesh_postgres.connect(one.url)
    assert await storing.extend(connection, training, tenant, loaded=10, expected=20, lanes=6, chunk=chunk)
    await mesh_postgres.close_connection(connection)
    one.changes.work()
    async with one.broker.consume(10) as consumer:
        await one.open("w")
        assert await drained(consumer) == []
        await one.control.resume(training)
        assert {granted.first for granted in await drained(consumer)} == {0, 10}


@pytest.mark.parametrize("control", ["pause", "cancel"])
async def test_grants_that_their_tenant_ends_again_and_again_do_not_fill_the_queue(
    one: Core, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All lanes are busy, so that nobody takes a message. Then one worker has room, and everything goes on."""
    monkeypatch.setattr(admission, "MOST_OVER", 20)
    monkeypatch.setattr(publisher, "LOOK_FROM", 0)
    tenant = await one.tenant("a", "paid")
    await one.open("w", lanes=2)
    training = await one.training(tenant, "t", 40)

    async def at_rest() -> bool:
        """All that may be granted is: four shards, or as many as the queue takes."""
        granted = await one.pool.fetchval("select count(*) from shard where training = $1 and state = 1", training)
        return bool(granted == 4 or one.publisher.queued >= 24)

    for turn in range(12):
        await wait_until(at_rest)
        if control == "pause":
            await one.control.pause(training)
            await one.control.resume(training)
        else:
            await one.cancel(training)
            training = await one.training(tenant, f"t{turn}", 40)
    await wait_until(at_rest)
    assert (await one.broker.depth()).ready <= 24
    async with one.broker.consume(2) as consumer:

        async def taken() -> bool:
            granted = await message(consumer)
            row = await one.row("shard", granted.shard)
            return bool((row["number"], row["state"], row["training"]) == (granted.number, ShardState.DISPATCHED, training))

        await wait_until(taken)


@pytest.mark.parametrize("resumed", [False, True])
async def test_what_is_handed_back_once_its_training_is_paused_waits_too(one: Core, resumed: bool) -> None:
    training = await one.training(await one.tenant("a"), "t", 10)
    async with one.broker.consume(10) as consumer:
        session = (await one.open("w")).session
        granted = await message(consumer)
        await one.begin(session, granted.shard, granted.number)
        await one.control.pause(training)
        if resumed:
            await one.control.resume(training)
        await one.handbacks.release_yielded(session, (granted.shard, granted.number), why="a store is down", delay_ms=500)
        if not resumed:
            assert await drained(consumer, 1.0) == []
            await one.control.resume(training)
        assert (await message(consumer)).number == granted.number + 1


async def test_cancel_frees_what_waits_and_others_are_granted(one: Core) -> None:
    tenant = await one.tenant("a")
    async with one.broker.consume(10) as consumer:
        await one.open("w")
        cancelled = await one.training(tenant, "t1", 10)
        await message(consumer)
        other = await one.training(tenant, "t2", 10)
        await one.cancel(cancelled)
        granted = await message(consumer)
        assert granted.training_task_id == "t2"
    assert (await one.shards(cancelled))[0]["state"] == ShardState.CANCELLED
    assert (await one.shards(other))[0]["state"] == ShardState.DISPATCHED


async def test_the_next_leader_publishes_what_the_last_one_granted(postgres: str) -> None:
    broker = MemoryBroker()
    async with core(postgres, broker=broker, leads=True) as first:
        await first.open("w")
        await first.training(await first.tenant("a"), "t", 10)
        async with broker.consume(10) as consumer:
            lost = await message(consumer)
    async with core(postgres, broker=broker, leads=True) as second, broker.consume(10) as consumer:
        again = await message(consumer)
        assert again == lost
        assert await drained(consumer, 1.5) == []
        session = (await second.open("w2")).session
        assert await second.begin(session, again.shard, again.number) is Begun.BEGUN


async def test_two_leaders_at_once_stay_within_every_plan(postgres: str) -> None:
    """The lock is left out on purpose: both run the leader's loop, as a frozen one that comes back would."""
    broker = MemoryBroker()
    async with core(postgres, broker=broker) as left, core(postgres, broker=broker) as right:
        tenants = {await left.tenant("free-1"): 5, await left.tenant("free-2"): 5, await left.tenant("paid", "paid"): 30}
        session = (await left.open("w", lanes=40)).session
        trainings = [await left.training(tenant, f"t{tenant}-{n}", 60) for tenant in tenants for n in range(2)]
        connections = [await mesh_postgres.connect(postgres) for _ in range(2)]
        seen: set[tuple[int, int]] = set()

        async def finish(granted: ShardMessage) -> None:
            used = await left.pool.fetch("select tenant, sum(width) as used from shard where state in (1, 2, 3) group by tenant")
            assert all(row["used"] <= tenants[row["tenant"]] for row in used), used
            side = left if granted.shard % 2 else right
            if await side.begin(session, granted.shard, granted.number) is Begun.BEGUN:
                assert (granted.shard, granted.number) not in seen
                seen.add((granted.shard, granted.number))
                await side.report(session, granted.shard, granted.number, results(granted.first, granted.count))

        async with asyncio.TaskGroup() as group:
            leaders = [
                group.create_task(side.dispatcher.lead(connection)) for side, connection in zip((left, right), connections, strict=True)
            ]
            async with broker.consume(100) as consumer:
                while len(seen) < 36:
                    await finish(await message(consumer))
            for leader in leaders:
                leader.cancel()
        for connection in connections:
            await mesh_postgres.close_connection(connection)
        for training in trainings:
            await left.sums_hold(training)
            assert (await left.row("training", training))["state"] == TrainingState.COMPLETED


async def test_long_documents_of_many_trainings_leave_lanes_to_other_tenants(postgres: str) -> None:
    """A shard of one document gives its lane back when that starts, however long it takes."""
    async with core(postgres, leads=True) as one:
        session = (await one.open("w1", lanes=1)).session
        many, few = await one.tenant("many", "paid"), await one.tenant("few")
        async with one.broker.consume(100) as consumer:
            for number in range(8):
                await one.training(many, f"t{number}", 1)
            for _ in range(8):
                granted = await message(consumer)
                assert await one.begin(session, granted.shard, granted.number) is Begun.BEGUN
                await one.report(session, granted.shard, granted.number, results(0, 0, running=[0]))
            await one.training(few, "t", 1)
            assert (await message(consumer)).tenant_id == "few"
        assert await one.used(many) == 8


async def test_a_beat_that_stands_still_loses_its_session(postgres: str) -> None:
    async with core(postgres, leads=True, lease_seconds=2.0) as one:
        training = await one.training(await one.tenant("a"), "t", 10)
        alive, dead = await one.open("w1", lanes=1), await one.open("w2", lanes=1)
        async with one.broker.consume(10) as consumer:
            granted = await message(consumer)
            assert await one.begin(dead.session, granted.shard, granted.number) is Begun.BEGUN

            async def beats() -> bool:
                await one.beat(alive)
                return bool((await one.row("session", dead.session))["state"] == SessionState.LOST)

            await wait_until(beats)
            again = await message(consumer)
            assert (again.shard, again.number) == (granted.shard, granted.number + 1)
        assert (await one.row("session", alive.session))["state"] == SessionState.LIVE
        assert (await one.shards(training))[0]["losses"] == 1


async def waiting_trainings(one: Core, tenant: int, count: int, *, paused: bool = False, not_before: str = "-infinity") -> None:
    """Of one document each, as StartTraining leaves them, and PauseTraining or a worker that hands them back."""
    await one.pool.execute(
        """with made as (
            insert into training (tenant, task_id, request_hash, sealed, total, loaded, paused)
            select $1, gen_random_uuid()::text, '', true, 1, 1, $3 from generate_series(1, $2::int) n returning id, tenant
        ) insert into shard (training, tenant, shard_number, first, count, open, not_before)
        select id, tenant, 0, 0, 1, 1, $4::text::timestamptz from made""",
        tenant,
        count,
        paused,
        not_before,
    )


async def steps(connection: mesh_postgres.OwnConnection, statement: str, *arguments: object) -> Mapping[str, float]:
    """How many rows each kind of node of the plan handed on or dropped, all its loops together."""
    text = await connection.fetchval(f"explain (analyze, format json) {(grants.SQL | dispatcher.SQL)[statement]}", *arguments)
    found: dict[str, float] = defaultdict(float)

    def walk(node: dict[str, Any]) -> None:
        dropped = sum(value for key, value in node.items() if key.startswith("Rows Removed"))
        found[node["Node Type"]] += (node["Actual Rows"] + dropped) * node["Actual Loops"]
        for below in node.get("Plans", ()):
            walk(below)

    walk(json.loads(text)[0]["Plan"])
    return found


async def test_trainings_that_may_not_run_cost_the_leader_nothing_however_many_there_are(postgres: str) -> None:
    """An attack: one tenant's paused trainings, and such whose shards are delayed, before the training of another."""
    async with core(postgres) as one:
        attacker, other = await one.tenant("attacker", "paid"), await one.tenant("other")
        await waiting_trainings(one, attacker, 20_000, paused=True, not_before="infinity")
        await waiting_trainings(one, attacker, 20_000, not_before="2100-01-01")
        ours = await one.training(other, "ours", 1)
        await one.pool.execute("analyze")
        await one.open("w")
        connection = await mesh_postgres.connect(postgres, settings=planning.BY_INDEX)
        try:
            looks = (("claimants", ()), ("runnable", (12, 12, [attacker, other])), ("next_delay_ends_in", ()), ("end_delays", (1_000,)))
            for statement, arguments in looks:
                looked_at = await steps(connection, statement, *arguments)
                assert sum(looked_at.values()) < 50, (statement, looked_at)
            await Term(connection, one.publisher, Lapses(one.lost, one.spawn), lease_seconds=10, lane_slots=5).round()
        finally:
            await mesh_postgres.close_connection(connection)
        assert (await one.shards(ours))[0]["state"] == ShardState.DISPATCHED


async def test_thousands_of_waiting_trainings_cost_a_round_what_a_few_do(postgres: str) -> None:
    async with core(postgres) as one:
        many, few = await one.tenant("many", "paid"), await one.tenant("few", "paid")
        await one.pool.execute("update plan set slots = 1000, burst_slots = 1000, allowed = 1000 where name = 'paid'")
        await waiting_trainings(one, many, 2, paused=True, not_before="infinity")
        await waiting_trainings(one, many, 20_000)
        await waiting_trainings(one, few, 2, paused=True, not_before="infinity")
        await waiting_trainings(one, few, 1)
        await one.pool.execute("analyze")
        connection = await mesh_postgres.connect(postgres, settings=planning.BY_INDEX)
        term = Term(connection, one.publisher, Lapses(one.lost, one.spawn), lease_seconds=10, lane_slots=5)
        await one.open("w", lanes=75)
        try:
            start = time.monotonic()
            while not await term.round():
                pass
            took = time.monotonic() - start
        finally:
            await mesh_postgres.close_connection(connection)
        granted = await one.pool.fetch("select tenant, training from shard where state = 1 order by training")
        firsts = [row["id"] for row in await one.pool.fetch("select id from training where tenant = $1 order by id limit 151", many)]
        assert [row["training"] for row in granted if row["tenant"] == many] == firsts[2:151], "the oldest that are not paused"
        assert len(granted) == 150, "lanes and as many on deck"
        assert took < 1.0, "it was 0.3 s for each transaction's grants"


async def test_a_sweep_that_is_due_comes_before_more_grants(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that end as fast as they are granted kept a round granting, and nothing was taken back meanwhile."""
    monkeypatch.setattr(grants, "MOST_GRANTS", 1)
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.0)
    async with core(postgres) as one:
        many = await one.tenant("many", "paid")
        await waiting_trainings(one, many, 10)
        await one.open("w", lanes=10)
        connection = await mesh_postgres.connect(postgres, settings=planning.BY_INDEX)
        term = Term(connection, one.publisher, Lapses(one.lost, one.spawn), lease_seconds=10, lane_slots=5)
        try:
            assert await term.round() == 0.0, "there is more to grant"
            assert await one.pool.fetchval("select count(*) from shard where state = 1") == 1
        finally:
            await mesh_postgres.close_connection(connection)


async def test_another_leads_once_the_first_is_gone(postgres: str) -> None:
    async with core(postgres, leads=True) as second:
        async with core(postgres, leads=True) as first:
            await wait_until(lambda: first.leadership.leading or second.leadership.leading)
            assert not (first.leadership.leading and second.leadership.leading)
        await wait_until(lambda: second.leadership.leading)


async def test_a_leader_forgets_sessions_that_ended_long_ago(postgres: str) -> None:
    async with core(postgres) as made:
        await made.pool.execute(
            """
            insert into session (worker_id, lanes, state, beaten_at) values
                ('old', 1, 2, now() - interval '2 days'), ('young', 1, 2, now()), ('alive', 1, 1, now() - interval '2 days')
            """
        )
        async with core(postgres, broker=made.broker, leads=True):
            await wait_until(lambda: made.pool.fetchval("select not exists (select 1 from session where worker_id = 'old')"))
        assert {row["worker_id"] for row in await made.pool.fetch("select worker_id from session")} == {"young", "alive"}
