"""The tables in memory do what Postgres does: the same statements, the same answers, the same waits and the same rows at the end."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from simulation.both_stores import BASE, DOCUMENTS, SHARD, Speaker, Store, same, waits
from simulation.store import statements


def test_every_statement_that_the_simulated_classes_run_is_known() -> None:
    assert statements.unknown() == []


def _one(draw: random.Random) -> tuple[Any, ...]:
    """A statement with parameters that often meet a row."""
    shard, training, session = draw.randint(1, 12), draw.randint(1, 3), draw.randint(1, 4)
    secret = draw.choice([b"one", b"one", b"other"])
    number, ordinal, version = draw.randint(0, 2), draw.randrange(DOCUMENTS), draw.randint(1, 9)
    some = sorted(draw.sample(range(1, 13), 3))
    started = [draw.choice([-1, 5]) for _ in range(SHARD)]
    first = (shard - 1) % 6 * SHARD
    suspects = draw.choice([[], [first], [first, first + 1]])
    return draw.choice(
        [
            ("training_rows.lock_trainings", some),
            ("group_transaction.lock_live_sessions", [1, 2, 3]),
            ("group_transaction.lock_shards", some),
            *3
            * [
                ("recording.record_done", training, first, first + SHARD - 1, number, BASE, _text(started), _text([1] * SHARD)),
                ("grants.grant", shard, draw.randint(1, 5), draw.randint(1, 2)),
                ("group_transaction.update_shard", shard, draw.choice([1, 2, 2, 3, 4]), session, 2, [first], suspects, None, version),
                ("heartbeats.beat", session, draw.randint(1, 2), draw.random() < 0.2, draw.random() < 0.2),
            ],
            ("recording.record_failed", training, ordinal, number, 2, "BROKEN", "It is broken.", BASE, 1, 2),
            ("recording.set_tries", training, ordinal, number, 3),
            ("recording.record_unchanged", training, number, [ordinal]),
            ("recording.set_stages", training, ordinal, number, '[["fetch",0,1,{}]]'),
            ("group_transaction.order_yield", [shard]),
            (
                "training_rows.update_training",
                training,
                draw.choice([1, 2, 2, 2, 3]),
                2,
                1,
                version,
                draw.random() < 0.5,
                draw.random() < 0.1,
            ),
            ("grants.room",),
            ("grants.in_flight",),
            ("grants.runnable", draw.randint(1, 5), draw.randint(1, 3), draw.choice([[1], [2], [1, 2]])),
            ("grants.claimants",),
            ("grants.lock_tenants", [1, 2, 7]),
            ("grants.lock_startable_trainings", [1, 2, 3]),
            ("dispatcher.dispatched",),
            ("preemption.in_lanes",),
            ("preemption.pending", draw.randint(1, 5), draw.randint(1, 3)),
            ("preemption.lock", some),
            ("preemption.withdraw", shard, draw.randint(1, 2)),
            ("yields.tell_to_yield", shard, draw.randint(1, 2)),
            ("training_turns.running",),
            ("balancing.workers",),
            ("balancing.in_lanes", [1, 2]),
            ("balancing.granted",),
            ("resizing.sized", draw.randint(1, 5)),
            ("resizing.lock_tenants", [1, 2, 7]),
            ("resizing.lock_shards", some),
            ("dispatcher.end_delays", draw.randint(1, 3)),
            ("dispatcher.next_delay_ends_in",),
            ("sessions.open_session", f"w{session}", 2, "1", draw.choice([None, 1]), secret),
            ("sessions.attach_session", session, f"w{draw.randint(1, 4)}", 3, secret),
            ("heartbeats.held_shards", [1, 2]),
            ("dispatcher.live_sessions",),
            ("dispatcher.forget_sessions", 10),
            ("sessions.predecessor", session, f"w{session}", secret),
            ("takeback.held_by", session),
            ("lost_sessions.mark_gone", session, draw.choice([None, 0, 1]), draw.choice([None, 1])),
            ("lost_sessions.losses_beside", session, 3600.0, draw.randint(1, 3), draw.choice([0, 1])),
            ("takeback.forgive_shards", some),
            ("heartbeats.lock_for_beats", [3, 1]),
            ("heartbeats.known_sessions", [3, 1, 9]),
            ("shard_locks.free", some),
            ("shard_locks.lock", shard),
            ("takeback.end_session", session, draw.choice([None, 0, 1]), draw.choice([None, 1])),
            ("takeback.lock_held_shards", session),
            ("handback.lock_attached_session", session, 1),
            ("handback.lock_held_shards_of", session, some),
            ("handback.free_shard", shard, draw.choice([0, 0, 5]), version, draw.choice([0, 0, 60_000, 10**12]), "why"),
            ("takeback.take_back_shard", shard, draw.choice([0, 0, 5]), version, 1, suspects, 2, draw.randint(0, 3)),
            ("takeback.document_losses", training, ordinal),
            ("takeback.charge_document", training, ordinal),
            ("takeback.fail_document", training, ordinal, number, "CRASHED_WORKER", "It was lost."),
            ("trials.start_trial", shard, number, session, first),
            ("opened.tenant_name", draw.randint(1, 3)),
            ("opened.open_documents", training, first, first + 9),
            ("opened.open_ordinals", training, first, first + 9),
            ("storing.lanes",),
            ("storing.next_shard_number", training),
            ("storing.lock_loading", training, draw.choice([DOCUMENTS, 0])),
            ("storing.pause_loaded", training, first),
            (
                "storing.advance",
                training,
                DOCUMENTS,
                1,
                1,
                draw.random() < 0.5,
                draw.choice([1, 2]),
                version,
                draw.random() < 0.1,
                draw.random() < 0.5,
            ),
            ("unfinished.unsealed", draw.choice([[], [2]])),
            ("unfinished.silent_seconds", training),
            ("unfinished.one_unsealed", training),
            ("reading.by_task", draw.randint(1, 2), f"t{training}"),
            ("accepting.standing", draw.randint(1, 3), f"t{training}"),
            ("reading.progress", [1, 2, 3, 4], draw.choice([None, None, 1, 2])),
            ("reading.waiting", [1, 2, 3], draw.choice([None, None, 1, 2])),
            ("endings.lock_for_end", training),
            ("endings.lock_open_shards", training),
            ("endings.running_shards", training),
            *[("control.resume_training", training), ("control.resume_shards", training)],
            *([("control.pause_training", training), ("control.pause_shards", training, version)] if draw.random() < 0.4 else []),
            *([("endings.end_training", training, 6, None), ("endings.end_shards", training, version)] if draw.random() < 0.2 else []),
        ]
    )


def _text(numbers: list[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


@pytest.mark.parametrize("seed", range(6))
async def test_any_statements_one_after_another_answer_the_same(postgres: str, seed: int) -> None:
    async def script(store: Store) -> list[Any]:
        draw, speaker = random.Random(seed), Speaker(await store.connect())
        for tenant in (1, 2, 1):
            ((training, _),) = await speaker.say("storing.begin_training")
            await speaker.load(training, tenant, numbered=training == 2)
        within = False
        for _ in range(250):
            if draw.random() < 0.15:
                word = draw.choice(["commit", "commit", "rollback"]) if within else "begin"
                await speaker.connection.execute(word)
                within = not within
            await speaker.say(*_one(draw))
        await speaker.connection.execute("commit" if within else "select 1")
        return speaker.answers

    answers = await same(postgres, script)
    assert len(answers) > 250


async def _two(store: Store) -> tuple[Speaker, Speaker]:
    """Two connections; the first holds shard 1 as session 1, with shard 2 granted."""
    one, other = Speaker(await store.connect()), Speaker(await store.connect())
    await one.say("storing.begin_training")
    await one.load(1, 1, numbered=True)
    for worker in ("w1", "w2"):
        await one.say("sessions.open_session", worker, 2, "1", None, b"one")
    await one.say("grants.grant", 1, 2, 1)
    await one.say("group_transaction.update_shard", 1, 2, 1, 4, [], [0], None, 2)
    await one.say("grants.grant", 2, 1, 1)
    return one, other


LOCKS: list[tuple[Any, ...]] = [
    ("heartbeats.lock_for_beats", [1]),
    ("shard_locks.free", [1, 2]),
    ("control.pause_training", 1),
    ("training_rows.lock_trainings", [1]),
    ("grants.lock_startable_trainings", [1]),
    ("group_transaction.lock_live_sessions", [1]),
    ("heartbeats.beat", 1, 1, False, False),
    ("takeback.end_session", 1, None, None),
    ("group_transaction.lock_shards", [1, 2]),
    ("takeback.lock_held_shards", 1),
    ("trials.start_trial", 1, 1, 1, 0),
    ("grants.lock_tenants", [1]),
    ("preemption.lock", [2, 1]),
    ("dispatcher.end_delays", 9),
    ("resizing.lock_shards", [1, 2]),
    ("resizing.widen", 1, 1, 3, 1),
    ("resizing.narrow", 1, 1, 1),
    ("heartbeats.confirm", 1, 1, 1, 1, 1),
    ("endings.lock_open_shards", 1),
    ("recording.record_done", 1, 0, 3, 1, BASE, "{1,1,1,1}", "{1,1,1,1}"),
    ("takeback.charge_document", 1, 2),
    ("heartbeats.held_shards", [1]),
]


@pytest.mark.parametrize("place", range(len(LOCKS)), ids=[lock[0] for lock in LOCKS])
async def test_locks_are_in_each_others_way_as_in_postgres_and_guards_are_looked_at_again(postgres: str, place: int) -> None:
    async def script(store: Store) -> list[Any]:
        one, other = await _two(store)
        waited = []
        for wanted in LOCKS:
            for end in ("rollback", "commit"):
                await one.connection.execute("begin")
                await other.connection.execute("begin")
                await one.say(*LOCKS[place])
                task = asyncio.create_task(other.say(*wanted))
                waited.append((wanted[0], await waits(store, other.connection, task)))
                await one.connection.execute(end)
                await task
                await other.connection.execute("rollback")
        return [waited, *one.answers, *other.answers]

    await same(postgres, script)


async def test_a_statement_that_waited_sees_the_locked_row_anew_and_the_rest_as_it_was(postgres: str) -> None:
    """Why a grant counts under its tenant's lock: the sum of widths is as old as the statement."""

    async def script(store: Store) -> list[Any]:
        one, other = await _two(store)
        await one.connection.execute("begin")
        await one.say("group_transaction.lock_shards", [4])
        await one.say("grants.grant", 3, 2, 1)
        task = asyncio.create_task(other.say("grants.grant", 4, 2, 1))
        waited = await waits(store, other.connection, task)
        await one.connection.execute("commit")
        await task
        return [waited, *one.answers, *other.answers]

    answers = await same(postgres, script)
    assert answers[0] is True


def _resized(draw: random.Random, held: list[Any]) -> tuple[Any, ...]:
    """A statement about the width of one of three shards, now and then one that changes what it is guarded by."""
    resizes = {row[1]: row[-1] for row in held}
    shard, number, session = draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 1, 2]), draw.choice([1, 1, 1, 2])
    if draw.random() < 0.15:
        state, suspects = draw.choice([1, 2, 2, 2, 3]), draw.choice([[], [], [0]])
        return "group_transaction.update_shard", shard, state, session, draw.randint(1, 4), [], suspects, None, 2
    return draw.choice(
        [
            ("resizing.sized", draw.randint(2, 5)),
            ("resizing.widen", shard, number, draw.randint(2, 3), 1),
            ("resizing.narrow", shard, number, draw.randint(1, 2)),
            *3 * [("heartbeats.confirm", shard, number, session, resizes.get(shard, 0) - (draw.random() < 0.2), draw.choice([1, 1, 2]))],
            ("heartbeats.held_shards", [1, 2]),
            ("group_transaction.lock_shards", [1, 2, 3]),
        ]
    )


@pytest.mark.parametrize("seed", range(3))
async def test_widths_are_changed_and_confirmed_the_same(postgres: str, seed: int) -> None:
    async def script(store: Store) -> list[Any]:
        draw, (speaker, _) = random.Random(seed), await _two(store)
        await speaker.say("grants.grant", 3, 1, 1)
        for shard in (1, 2, 3):
            await speaker.say("group_transaction.update_shard", shard, 2, 1, 4, [], [], None, 2)
        seen = set()
        for _ in range(400):
            held = await speaker.say("heartbeats.held_shards", [1, 2])
            said = _resized(draw, held)
            if await speaker.say(*said) and said[0] in {"resizing.widen", "resizing.narrow"}:
                seen.add(said[0])
            if said[0] == "heartbeats.confirm" and await speaker.say("heartbeats.held_shards", [1, 2]) != held:
                seen.add(said[0])
        return [sorted(seen), *speaker.answers]

    answers = await same(postgres, script)
    assert answers[0] == ["heartbeats.confirm", "resizing.narrow", "resizing.widen"]


async def test_who_waits_briefly_gives_up_and_only_within_that_transaction(postgres: str) -> None:
    async def script(store: Store) -> list[Any]:
        one, other = await _two(store)
        for _ in range(2):
            await one.connection.execute("begin")
            await one.say("group_transaction.lock_shards", [1])
            await other.connection.execute("begin")
            await other.say("shard_locks.wait_briefly")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await other.say("shard_locks.lock", 1)
            await other.connection.execute("rollback")
            task = asyncio.create_task(other.say("shard_locks.lock", 1))
            assert await waits(store, other.connection, task)
            await asyncio.sleep(0.5)
            assert not task.done()
            await one.connection.execute("commit")
            await task
        return other.answers

    await same(postgres, script)


async def test_a_deadlock_is_told_to_one(postgres: str) -> None:
    async def script(store: Store) -> list[Any]:
        one, other = await _two(store)
        for speaker in (one, other):
            await speaker.connection.execute("begin")
        await one.say("group_transaction.lock_shards", [1])
        await other.say("group_transaction.lock_shards", [2])
        tasks = [asyncio.create_task(one.say("group_transaction.lock_shards", [2]))]
        assert await waits(store, one.connection, tasks[0])
        tasks.append(asyncio.create_task(other.say("group_transaction.lock_shards", [1])))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        told = [type(task.exception()).__name__ for task in done if task.exception() is not None]
        victim, winner = (one, other) if tasks[0] in done and tasks[0].exception() is not None else (other, one)
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await victim.say("grants.room")
        await victim.connection.execute("commit")
        await asyncio.wait(tasks)
        await winner.connection.execute("commit")
        return told

    assert (await same(postgres, script))[0] == "DeadlockDetectedError"


async def test_what_is_not_committed_is_not_seen_and_a_second_of_a_kind_waits(postgres: str) -> None:
    async def script(store: Store) -> list[Any]:
        one, other = await _two(store)
        await one.connection.execute("begin")
        await one.say("storing.begin_training")
        await one.load(2, 2, numbered=False)
        await other.say("reading.by_task", 2, "t2")
        await other.say("grants.runnable", 9, 2, [1, 2])
        await other.connection.execute("begin")
        row: tuple[Any, ...] = ("t2", b"h", True, 0, 0, 0, None, None, None, 0, "", None, None, None, [], False)
        task = asyncio.create_task(other.say("storing.insert_training", 99, 2, *row))
        waited = await waits(store, other.connection, task)
        await one.connection.execute("commit")
        await task
        await other.connection.execute("commit")
        with pytest.raises(asyncpg.UniqueViolationError):
            await other.connection.copy_records_to_table("document", records=[(2, 5, None)], columns=["training", "ordinal", "document_id"])
        return [waited, *other.answers]

    answers = await same(postgres, script)
    assert answers[0] is True
