"""What a coordinator tells its watchers while nothing happens, while much happens, and when a notice was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import grpc
import pytest

import doctrain
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.trainings import watchers
from doctrain_coordinator.trainings.reading import Seen, Trainings
from doctrain_mesh import postgres as database_pool
from doctrain_mesh.errors import StoreUnavailableError
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until

HEARTBEAT_SECONDS = 1.5
"""Longer than the hub's poll, as in production: what the poll finds unchanged is no sign of life."""


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, watch_heartbeat_seconds=HEARTBEAT_SECONDS) as running:
        yield running


async def start(acme: doctrain.AsyncClient, name: str) -> None:
    await acme.start_training(numbered=pb.NumberedDocuments(uri_template="s3://bucket/{n}", count=5), training_task_id=name)


async def watch(served: Coordinators, name: str, position: str = "", *, at: int = 0) -> AsyncIterator[pb.WatchStatusResponse]:
    stub = training_pb2_grpc.TrainingServiceStub(await served.channel(at))
    key = (("authorization", f"Bearer {await served.key(1, 'acme')}"),)
    request = pb.WatchStatusRequest(training_task_id=name, resume_position=position)
    async for response in stub.WatchStatus(request, metadata=key):
        yield response


async def test_who_watches_a_quiet_training_gets_signs_of_life(served: Coordinators) -> None:
    await start(await served.tenant("acme"), "quiet")
    watching = watch(served, "quiet")
    state = await anext(watching)
    async with asyncio.timeout(20):
        signs = [await anext(watching) for _ in range(2)]
    assert state.HasField("training")
    assert [sign.heartbeat for sign in signs] == [True, True]
    assert {sign.resume_position for sign in signs} == {state.resume_position}


async def test_another_reason_to_wait_is_told_though_nothing_of_the_training_changed(served: Coordinators) -> None:
    await start(await served.tenant("acme"), "waits")
    watching = watch(served, "waits")
    first = await anext(watching)
    assert first.training.waiting_reason == "No worker is connected; it starts as soon as one is."
    database = await served.database()
    await database.execute("insert into session (worker_id, lanes, attached) values ('w', 6, 1)")  # one that takes nothing from the queue
    async with asyncio.timeout(20):
        while (await anext(watching)).training.waiting_reason != "It was handed out, and no worker has taken it up yet.":
            pass


async def test_a_change_that_nobody_told_of_is_seen_beside_a_training_that_changes_all_the_time(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    await start(acme, "busy")
    await start(acme, "forgotten")
    database = await served.database()

    async def change() -> None:
        while True:
            await acme.pause("busy")
            await acme.resume("busy")
            await asyncio.sleep(watchers.POLL_SECONDS / 20)

    async def follow() -> None:
        async for _ in watch(served, "busy"):
            pass

    async def learn() -> None:
        async for response in watch(served, "forgotten"):
            if response.training.paused:
                return
            if response.HasField("training"):
                await database.execute("update training set paused = true, version = version + 1 where task_id = 'forgotten'")

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        others = [group.create_task(change()), group.create_task(follow())]
        await learn()
        for task in others:
            task.cancel()


async def test_a_watcher_is_told_the_state_that_a_restored_database_has(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    await start(acme, "restored")
    await acme.pause("restored")
    database = await served.database()
    watching = watch(served, "restored")
    assert (await anext(watching)).training.paused
    await database.execute("update training set paused = false, version = version - 1")
    async with asyncio.timeout(20):
        while (response := await anext(watching)).heartbeat:
            pass
    assert not response.training.paused


async def test_a_watcher_that_comes_from_another_coordinator_is_told_nothing_that_was_read_before_it_came(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, was_read, is_told = Trainings.of_any_tenant, asyncio.Event(), asyncio.Event()

    async def first_one_late(trainings: Trainings, ids: Collection[int]) -> list[Seen]:
        found = await read(trainings, ids)
        if not was_read.is_set():
            was_read.set()
            await is_told.wait()
        return found

    async with coordinators(postgres, tmp_path, count=2, watch_heartbeat_seconds=HEARTBEAT_SECONDS) as served, asyncio.timeout(20):
        acme = await served.tenant("acme")
        await start(acme, "moved")
        monkeypatch.setattr(Trainings, "of_any_tenant", first_one_late)
        early = asyncio.ensure_future(anext(watch(served, "moved")))
        await was_read.wait()
        await acme.pause("moved")
        there = await anext(watch(served, "moved", at=1))
        here = watch(served, "moved", there.resume_position)
        assert (await anext(here)).heartbeat, "it waits for its first state"
        is_told.set()
        moved, stayed = (await anext(here)).training, (await early).training
    assert stayed.version < there.training.version, "what was read before the change"
    assert moved.version == there.training.version
    assert moved.paused


async def test_trainings_whose_reading_fails_keep_the_watchers_of_others_from_nothing(
    served: Coordinators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "TRAININGS_AT_ONCE", 1)
    acme = await served.tenant("acme")
    await start(acme, "slow")
    await start(acme, "other")
    slow = await (await served.database()).fetchval("select id from training where task_id = 'slow'")
    read, overdue, healed = Trainings.of_any_tenant, asyncio.Event(), asyncio.Event()

    async def overdue_at_first(trainings: Trainings, ids: Collection[int]) -> list[Seen]:
        if slow in ids and not healed.is_set():
            overdue.set()
            raise StoreUnavailableError("Postgres did not answer.")
        return await read(trainings, ids)

    monkeypatch.setattr(Trainings, "of_any_tenant", overdue_at_first)
    async with asyncio.timeout(20):
        unheard = watch(served, "slow")
        silence = asyncio.ensure_future(anext(unheard))
        await overdue.wait()
        other = watch(served, "other")
        assert not (await anext(other)).training.paused
        await acme.pause("other")
        while not (await anext(other)).training.paused:
            pass
        healed.set()
        told = await silence
        while told.heartbeat:
            told = await anext(unheard)
    assert told.training.training_task_id == "slow"


async def test_who_watches_a_training_that_is_removed_hears_so(served: Coordinators) -> None:
    acme = await served.tenant("acme")
    await start(acme, "removed")
    await start(acme, "stays")
    watching, stays = watch(served, "removed"), watch(served, "stays")
    assert (await anext(watching)).HasField("training")
    assert (await anext(stays)).HasField("training")
    await (await served.database()).execute("delete from training where task_id = 'removed'")
    async with asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            assert all([response.heartbeat async for response in watching])
    assert (ended.value.code(), ended.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "The training was removed, for its age or with its tenant.",
    )
    async with asyncio.timeout(20):
        assert (await anext(stays)).heartbeat


async def test_what_could_not_be_told_is_told_on_the_next_connection(postgres: str) -> None:
    here, there = Changes(Database(postgres)), Changes(Database(postgres))
    heard: list[frozenset[int] | None] = []

    def hear(trainings: frozenset[int] | None, only_counts: bool) -> None:
        heard.append(trainings)

    pool = await database_pool.create_pool(postgres, size=1, name="test")
    backends = "select pid from pg_stat_activity where application_name = 'doctrain changes' and datname = current_database()"
    try:
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(here.run())]
            victim = await wait_until(lambda: pool.fetchval(backends))
            with there.listening(hear):
                loops.append(group.create_task(there.run()))
                await wait_until(lambda: None in heard)
                await pool.execute("select pg_terminate_backend($1)", victim)
                await wait_until(lambda: pool.fetchval(f"select count(*) = 1 from ({backends}) left_over"))
                here.trainings([7])
                await wait_until(lambda: frozenset({7}) in heard, 20)
            for loop in loops:
                loop.cancel()
    finally:
        await database_pool.close_pool(pool)
