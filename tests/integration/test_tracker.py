"""The tracker's stream as a worker sees it: every message answered, repeated ones too, and what the end of a stream means."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import grpc
import pytest

from doctrain.v1 import training_pb2, training_pb2_grpc
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.rpc import interceptors
from doctrain_coordinator.tenants.identity import ROLE_TENANT
from doctrain_coordinator.tracking.commits import Committer
from doctrain_mesh.postgres import sizes
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc
from testkit.core import NOW_MS, drained, message
from testkit.spoken_worker import ANSWER_SECONDS, Served, granted, serving, stream
from testkit.waiting import wait_until


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(postgres, tmp_path) as made:
        yield made


async def test_a_shard_from_its_begin_to_its_last_answer(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        assert (worker.welcome.attached, worker.welcome.lease_ms) == (1, 4000)
        for _ in range(2):
            answer = await worker.begin(ref)
            assert answer.outcome == pb.BEGIN_OUTCOME_BEGUN
            assert (answer.tenant_id, answer.training, answer.training_task_id, answer.width) == ("a", training, "t", 5)
            assert (list(answer.documents.run_first), list(answer.documents.run_count)) == ([0], [10])
            assert answer.documents.uri_template == "s3://b/{n}"
        assert (await worker.begin(pb.ShardRef(shard=ref.shard, number=9))).outcome == pb.BEGIN_OUTCOME_NOT_YOURS
        beat = await worker.beat(ref, sequence=7)
        assert (beat.sequence, beat.session_lost, list(beat.not_yours)) == (7, False, [])
        half = await worker.report(ref, 0, 5, sequence=1)
        assert (half.outcome, half.shard_done, half.sequence) == (pb.BLOCK_OUTCOME_RECORDED, False, 1)
        again = await worker.begin(ref)
        assert (list(again.documents.run_first), list(again.documents.run_count)) == ([5], [5])
        for sequence in (2, 3):
            last = await worker.report(ref, 5, 5, sequence=sequence)
            assert (last.outcome, last.shard_done) == (pb.BLOCK_OUTCOME_RECORDED, True)
        await served.core.sums_hold(training)


async def test_no_heartbeat_denies_a_shard_whose_begin_is_still_to_be_committed(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        async with served.core.pool.acquire() as other, other.transaction():
            await other.execute("select 1 from training where id = $1 for update", training)
            await worker.say(begins=[pb.Begin(shard=ref)])
            for sequence in range(1, 5):
                assert list((await worker.beat(ref, sequence=sequence)).not_yours) == []
        [begun] = await worker.hear(lambda r: list(r.begins))
        assert begun.outcome == pb.BEGIN_OUTCOME_BEGUN


async def test_a_begin_that_is_repeated_while_its_documents_are_read_is_answered_once(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (_, ref, _):
        await worker.begin(ref)
        await worker.report(ref, 0, 5)
        await worker.say(begins=[pb.Begin(shard=ref)] * 500)
        answers = await worker.hear(lambda r: list(r.begins))
        await worker.beat(ref, sequence=1)
        await worker.beat(ref, sequence=2)
        assert len(answers) + sum(len(response.begins) for response in worker.kept) < 5
        assert list(answers[0].documents.run_first) == [5]


async def test_a_shard_that_is_made_while_a_worker_says_that_it_stopped_is_not_what_it_stopped(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, consumer):
        await worker.begin(ref)
        async with served.core.pool.acquire() as other, other.transaction():
            await other.execute("select 1 from training where id = $1 for update", training)
            named = [pb.ShardRef(shard=shard, number=1) for shard in range(ref.shard + 1, ref.shard + 50)]
            await worker.say(stopped=[pb.Stopped(shard=shard) for shard in (ref, *named)])
            await wait_until(served.core.has_a_wait_for_a_lock)
            await served.core.training(await served.core.tenant("b"), "t", 1)
            made = await message(consumer)
            second = pb.ShardRef(shard=made.shard, number=made.number)
            assert second in named
            assert (await worker.begin(second)).outcome == pb.BEGIN_OUTCOME_BEGUN
        assert ref in await worker.hear(lambda r: list(r.stopped))
        assert (await worker.report(second, 0, 1)).outcome == pb.BLOCK_OUTCOME_RECORDED


async def test_a_page_of_documents_is_no_larger_for_the_stages_that_a_worker_tells(served: Served) -> None:
    async with stream(served) as worker, granted(served, 2_000) as (_, ref, _):
        documents = (await worker.begin(ref)).documents
        count = documents.run_count[0]
        stages = [pb.Stage(name=f"{n:02}" + "x" * 60, counts={f"{m:02}" + "x" * 60: 1 for m in range(3)}) for n in range(32)]
        passed = [pb.DocumentStages(ordinal=n, stages=stages) for n in range(count)]
        block = pb.Block(sequence=1, shard=ref, base_ms=NOW_MS, started=[0] * count, took=[1] * count, passed=passed)
        await worker.say(blocks=[block])
        await worker.hear(lambda r: list(r.blocks))
    key = (await served.running.keys.create(ROLE_TENANT, "a", "test")).key
    async with grpc.aio.insecure_channel(served.address) as channel:
        asked = training_pb2.ListDocumentsRequest(training_task_id="t", page_size=1000)
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        page = await stub.ListDocuments(asked, metadata=(("authorization", f"Bearer {key}"),))
    assert count * 3_000 > 2**20
    assert 0 < len(page.documents) < count
    assert page.next_page_token
    assert page.ByteSize() < 2 * 2**20


async def test_a_yield_a_stop_and_a_goodbye_are_answered_once_committed(served: Served) -> None:
    async with stream(served) as worker, granted(served, 20) as (training, ref, consumer):
        await worker.begin(ref)
        await worker.say(yields=[pb.Yield(shard=ref, delay_ms=0, reason="a test says so")])
        assert await worker.hear(lambda r: list(r.yields)) == [ref]
        again = await message(consumer)
        assert (again.shard, again.number) == (ref.shard, ref.number + 1)
        second = pb.ShardRef(shard=again.shard, number=again.number)
        await worker.begin(second)
        await served.core.cancel(training)
        beat = await worker.beat(second)
        assert [(order.shard, order.kind) for order in beat.orders] == [(second, pb.ORDER_KIND_STOP)]
        await worker.say(stopped=[pb.Stopped(shard=second)])
        assert await worker.hear(lambda r: list(r.stopped)) == [second]
        assert {shard["state"] for shard in await served.core.shards(training)} == {5}
        await worker.say(goodbye=pb.Goodbye(reason="done"))
        assert await worker.ended() is grpc.StatusCode.OK
        assert (await served.core.row("session", worker.welcome.session))["state"] == 2


async def test_a_shard_is_as_wide_as_its_worker_is_told_and_counted_for_that_once_it_says_so(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        assert (await worker.begin(ref)).width == 5
        await served.core.pool.execute("update plan set slots = 3, burst_slots = 3, allowed = 3")

        async def told() -> list[pb.Resize]:
            return list((await worker.beat(ref)).resizes)

        await wait_until(told)
        assert await told() == [pb.Resize(shard=ref, width=3, resize=1)]
        again = await worker.begin(ref)
        assert (again.width, again.resize) == (3, 1)
        assert (await served.core.shards(training))[0]["width"] == 5
        assert not (await worker.beat(ref, resize=1)).resizes
        assert (await served.core.shards(training))[0]["width"] == 3


async def test_a_trial_is_answered_and_refused_for_what_is_no_suspect_or_not_held(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        await served.core.pool.execute("update shard set suspects = '{3, 4}' where training = $1", training)
        assert list((await worker.begin(ref)).suspects) == [3, 4]
        refused, started = pb.TRIAL_OUTCOME_REFUSED, pb.TRIAL_OUTCOME_STARTED
        other = pb.ShardRef(shard=ref.shard, number=ref.number + 1)
        for shard, ordinal, outcome in ((ref, 9, refused), (other, 3, refused), (ref, 4, started)):
            await worker.say(trials=[pb.Trial(shard=shard, ordinal=ordinal)])
            (answer,) = await worker.hear(lambda r: list(r.trial_answers))
            assert (answer.shard, answer.ordinal, answer.outcome) == (shard, ordinal, outcome)
        assert (await served.core.shards(training))[0]["trial"] == 4


async def test_a_stream_that_ends_without_a_word_is_a_lost_worker_a_second_later(served: Served) -> None:
    async with stream(served, "other"), granted(served) as (training, ref, consumer):
        async with stream(served) as worker:
            assert (await worker.begin(ref)).outcome == pb.BEGIN_OUTCOME_BEGUN
        start = time.monotonic()
        again = await message(consumer)
        assert 0.9 <= time.monotonic() - start < 3
        assert (again.shard, again.number) == (ref.shard, ref.number + 1)
        assert (await served.core.shards(training))[0]["losses"] == 1
        async with stream(served, session=worker.welcome.session, secret=worker.welcome.secret) as late:
            assert late.welcome.session == 0


async def test_a_stream_that_this_side_ends_by_a_fault_of_its_own_waits_for_the_lease(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a test says so")

    async with stream(served, "other") as other, granted(served) as (training, ref, consumer), stream(served) as worker:
        assert (await worker.begin(ref)).outcome == pb.BEGIN_OUTCOME_BEGUN
        monkeypatch.setattr(Committer, "submit", fail)
        await worker.say(begins=[pb.Begin(shard=ref)])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await worker.ended()
        assert raised.value.code() is grpc.StatusCode.INTERNAL
        monkeypatch.undo()
        start = time.monotonic()
        while time.monotonic() < start + 2.5:
            await other.beat()
            assert (await served.core.shards(training))[0]["state"] == ShardState.RUNNING
            await asyncio.sleep(0.2)
        async with stream(served, session=worker.welcome.session, secret=worker.welcome.secret) as back:
            assert not (await back.beat(ref)).session_lost
            assert (await back.report(ref, 0, 10)).shard_done
        assert await drained(consumer, 0.3) == []


async def test_a_stream_that_ends_with_its_key_waits_for_the_lease(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "KEY_SECONDS", 0.1)
    async with stream(served) as worker:
        await served.core.pool.execute("update api_key set revoked_at = now()")
        while not worker._call.done():
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it ends between the two
                await worker.beat()
            await asyncio.sleep(0.1)
        assert await worker._call.code() is grpc.StatusCode.UNAUTHENTICATED
        await asyncio.sleep(1.5)
        assert not await _lost(served, worker.welcome.session)
        await wait_until(lambda: _lost(served, worker.welcome.session))


async def test_results_that_are_not_of_the_shard_are_not_called_recorded(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        await worker.begin(ref)
        answer = await worker.report(ref, 8, 5)
        assert (answer.outcome, answer.shard_done, list(answer.invalid)) == (pb.BLOCK_OUTCOME_INVALID, False, [])
        await served.core.sums_hold(training)
        assert (await served.core.row("training", training))["completed"] == 2


async def test_another_stream_in_time_keeps_the_session_and_its_shards(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (_, ref, consumer):
        await worker.begin(ref)
        async with stream(served, session=worker.welcome.session, secret=worker.welcome.secret) as next_one:
            assert (next_one.welcome.session, next_one.welcome.attached) == (worker.welcome.session, 2)
            assert (await worker.beat(ref)).session_lost, "an old stream's beat counts for nothing"
            worker._call.cancel()
            end = time.monotonic() + 1.8
            while time.monotonic() < end:
                assert not (await next_one.beat(ref)).session_lost
                await asyncio.sleep(0.2)
            assert (await next_one.report(ref, 0, 10)).shard_done
            assert await drained(consumer, 0.3) == []


async def test_heartbeats_are_answered_while_a_hand_back_waits_for_a_lock(served: Served) -> None:
    async with stream(served) as worker, granted(served) as (training, ref, _):
        await worker.begin(ref)
        blocker = await asyncpg.connect(served.core.url)
        try:
            transaction = blocker.transaction()
            await transaction.start()
            await blocker.execute("select 1 from training where id = $1 for update", training)
            await worker.say(yields=[pb.Yield(shard=ref)])
            for sequence in range(1, 4):
                assert (await worker.beat(ref, sequence=sequence)).sequence == sequence
            await transaction.rollback()
            assert await worker.hear(lambda r: list(r.yields)) == [ref]
        finally:
            await blocker.close()


async def test_a_worker_works_on_while_tenants_calls_have_every_connection(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "CALLS", 2)
    async with serving(postgres, tmp_path) as served, stream(served) as worker, granted(served) as (_, ref, _):
        rows = await asyncpg.connect(postgres)
        try:
            async with grpc.aio.insecure_channel(served.address) as channel, rows.transaction():
                stub = training_pb2_grpc.TrainingServiceStub(channel)
                for tenant in ("b", "c"):
                    await served.core.tenant(tenant)
                keys = [(await served.running.keys.create(1, tenant, "")).key for tenant in ("b", "b", "c")]
                await rows.execute("select from tenant where name in ('b', 'c') for update")
                calls = [
                    stub.StartTraining(
                        training_pb2.StartTrainingRequest(numbered=training_pb2.NumberedDocuments(uri_template="s3://bucket/{n}", count=1)),
                        metadata=(("authorization", f"Bearer {key}"),),
                    )
                    for key in keys
                ]
                waiting = """
                    select count(*) from pg_stat_activity
                    where datname = current_database() and application_name = 'doctrain api' and wait_event_type = 'Lock'
                """
                await wait_until(lambda: _is(served, waiting, 2))
                assert (await worker.begin(ref)).outcome == pb.BEGIN_OUTCOME_BEGUN
                assert (await worker.beat(ref)).sequence == 1
                assert (await worker.report(ref, 0, 5)).outcome == pb.BLOCK_OUTCOME_RECORDED
                await worker.say(yields=[pb.Yield(shard=ref)])
                assert await worker.hear(lambda r: list(r.yields)) == [ref]
                async with stream(served, "another") as another:
                    assert another.welcome.session
                assert not any(call.done() for call in calls)
        finally:
            await rows.close()


async def test_a_goodbye_is_heard_though_its_stream_is_closed_right_behind_it(served: Served) -> None:
    async with stream(served) as worker:
        await worker.say(goodbye=pb.Goodbye(reason="done"))
        await worker._call.done_writing()
        assert await worker.ended() is grpc.StatusCode.OK
        await wait_until(lambda: _lost(served, worker.welcome.session), timeout=0.9)


async def _is(served: Served, query: str, value: object) -> bool:
    return bool(await served.core.pool.fetchval(query) == value)


async def _lost(served: Served, session: int) -> bool:
    return bool((await served.core.row("session", session))["state"] == 2)


async def test_a_stream_whose_worker_says_nothing_is_ended_after_its_lease(served: Served) -> None:
    async with stream(served, "alive") as alive, stream(served, "gone") as gone:

        async def beat() -> None:
            while True:
                await alive.beat()
                await asyncio.sleep(0.5)

        beating = asyncio.create_task(beat())
        assert await gone.ended() is grpc.StatusCode.OK
        beating.cancel()
        assert not alive._call.done()


async def test_a_stream_without_a_hello_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctrain_coordinator.rpc.tracker.HELLO_SECONDS", 0.2)
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = tracker_pb2_grpc.TrackerServiceStub(channel).Track(metadata=(("authorization", f"Bearer {served.key}"),))
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_begins_with_a_hello(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = tracker_pb2_grpc.TrackerServiceStub(channel).Track(metadata=(("authorization", f"Bearer {served.key}"),))
        await call.write(pb.TrackRequest(heartbeat=pb.Heartbeat()))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async with asyncio.timeout(ANSWER_SECONDS):
                await call.read()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
