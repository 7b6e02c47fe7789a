"""What tenants do to a training that was started: pause, resume, cancel, retry what failed, ask why it waits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

import doctrain
from doctrain.errors import NothingToRetryError, TrainingExistsError, TrainingNotFoundError
from doctrain.v1 import fleet_pb2
from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.trainings import chunks, failed_documents, loaders, retrying
from doctrain_mesh.ports import Message
from doctrain_mesh.postgres import sizes
from doctrain_worker import app
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Done, ErrorClass, Failure, Outcome, ShardContext, StageTiming
from testkit.coordinator import Coordinators, coordinators
from testkit.waiting import wait_until
from testkit.worker import Documents, worker


@pytest.fixture
async def served(postgres: str, tmp_path: Path) -> AsyncIterator[Coordinators]:
    async with coordinators(postgres, tmp_path, count=2, beat_seconds=0.2) as running:
        yield running


@pytest.fixture
async def acme(served: Coordinators) -> doctrain.AsyncClient:
    return await served.tenant("acme", "free")


async def work(served: Coordinators, processor: object) -> AbstractAsyncContextManager[app.Running]:
    """A worker of the served mesh."""
    addresses = (one.address for one in served.running)
    return worker(served.broker, processor, *addresses, worker_key=await served.key(2))


def numbered(count: int) -> pb.NumberedDocuments:
    return pb.NumberedDocuments(uri_template="s3://bucket/{n}", first=0, count=count)


def rules(explained: pb.ExplainTrainingResponse) -> list[int]:
    return [hold.rule for hold in explained.holds]


async def test_a_paused_training_lets_what_runs_end_and_starts_nothing_until_it_is_resumed(
    served: Coordinators, acme: doctrain.AsyncClient
) -> None:
    documents = Documents()
    async with await work(served, documents):
        await acme.start_training(numbered=numbered(1_000), training_task_id="t")
        await wait_until(lambda: len(documents.running) == 5)
        for _ in range(2):
            paused = await acme.pause("t")
            assert paused.paused

        async def at_rest() -> bool:
            documents.end(*documents.running)
            return (await acme.explain("t")).slots_in_use == 0

        await wait_until(at_rest)
        stopped = await acme.get_training("t")
        assert 5 <= stopped.completed < 1_000
        assert stopped.message == f"Paused at {stopped.completed} of 1,000 documents."
        assert rules(await acme.explain("t")) == [pb.HOLD_RULE_PAUSED]
        started = len(documents.started)
        assert started == stopped.completed
        for _ in range(2):
            assert not (await acme.resume("t")).paused
        documents.end_all()
        ended = await acme.wait("t")
    assert ended.state == pb.TRAINING_STATE_COMPLETED
    assert sorted(documents.started) == list(range(1_000))


async def test_a_training_paused_before_it_ran_is_taken_back_from_the_queue(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    await acme.pause((await acme.start_training(numbered=numbered(5), training_task_id="t")).training.training_task_id)
    documents = Documents(free=True)
    async with await work(served, documents):
        await acme.start_training(numbered=numbered(5), training_task_id="other")
        assert (await acme.wait("other")).completed == 5
        assert (await acme.get_training("t")).state == pb.TRAINING_STATE_QUEUED
        await acme.resume("t")
        assert (await acme.wait("t")).completed == 5


async def test_cancel_kills_what_runs_and_a_paused_training_can_be_cancelled(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    documents = Documents()
    async with await work(served, documents):
        await acme.start_training(numbered=numbered(20), training_task_id="t")
        await wait_until(lambda: len(documents.running) == 5)
        await acme.pause("t")
        for _ in range(2):
            assert (await acme.cancel("t")).state == pb.TRAINING_STATE_CANCELLED
        await wait_until(lambda: len(documents.cancelled) == 5)
        assert not (await acme.resume("t")).paused
        await acme.start_training(numbered=numbered(5), training_task_id="next")
        documents.end_all()
        assert (await acme.wait("next")).completed == 5  # the slots are free again


class Failing:
    """Documents whose number ends in 1, 2 or 3 fail, each in its way, until ``mended``."""

    mended = False

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        kinds = {"1": ErrorClass.PERMANENT, "2": ErrorClass.RESOURCE, "3": ErrorClass.CRASH}
        kind = kinds.get(document.document_id[-1])
        return DONE if kind is None or self.mended else Failure(kind, "BROKEN", "It is broken.")


async def test_what_failed_is_trained_again_as_a_training_of_its_own(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    failing = Failing()
    async with await work(served, failing):
        await acme.start_training(numbered=numbered(20), training_task_id="t")
        first = await acme.wait("t")
        assert (first.completed, first.failed) == (14, 6)
        failing.mended = True
        some = await acme.retry_failed("t", error_classes=[pb.ERROR_CLASS_PERMANENT], document_ids=["11", "12"], retry_task_id="some")
        again = await acme.retry_failed("t", error_classes=[pb.ERROR_CLASS_PERMANENT], document_ids=["12", "11"], retry_task_id="some")
        assert some.training_task_id == again.training_task_id == "some"
        assert (some.total, some.retry_of) == (1, "t")
        assert (await acme.wait("some")).completed == 1
        every = await acme.retry_failed("t")
        assert (await acme.wait(every.training_task_id)).completed == 6
        assert [d.document_id async for d in acme.list_documents(every.training_task_id)] == ["1", "2", "3", "11", "12", "13"]
        after = await acme.get_training("t")
        assert (after.completed, after.failed, after.version) == (first.completed, first.failed, first.version)
        with pytest.raises(NothingToRetryError, match=f"no document failed or was cancelled in '{every.training_task_id}'"):
            await acme.retry_failed(every.training_task_id)
        with pytest.raises(NothingToRetryError, match="none is left: each was not asked for"):
            await acme.retry_failed("t", document_ids=["4", "nope"])
        for unknown in ("nope", "20", "01"):
            with pytest.raises(NothingToRetryError, match=f"'{unknown}' is no document of 't'"):
                await acme.retry_failed("t", document_ids=[unknown])
        with pytest.raises(
            NothingToRetryError, match="none of the 6 that failed or were cancelled in 't' failed in a way that was asked for"
        ):
            await acme.retry_failed("t", error_classes=["transient"])
        given = await acme.start_training([pb.DocumentInput(document_id="1", uri="s3://bucket/1")], training_task_id="given")
        assert given.training.total == 1
        await acme.wait("given")
        with pytest.raises(NothingToRetryError, match="none of the 2 is a document of 'given'"):
            await acme.retry_failed("given", document_ids=["2", "3"])
        with pytest.raises(TrainingExistsError):
            await acme.retry_failed("t", retry_task_id="some")


async def test_what_a_cancel_left_open_is_trained_by_a_retry(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    documents = Documents()
    async with await work(served, documents):
        await acme.start_training(numbered=numbered(12), training_task_id="t")
        await wait_until(lambda: len(documents.running) == 5)
        with pytest.raises(NothingToRetryError):
            await acme.retry_failed("t")  # what is open may still be trained
        documents.end(*list(documents.running)[:2])
        await wait_until(lambda: trained(acme, "t", 2))
        await acme.cancel("t")
        left = [document.document_id async for document in acme.list_documents("t", ["cancelled"])]
        with pytest.raises(NothingToRetryError):
            await acme.retry_failed("t", error_classes=["transient"])
        again = await acme.retry_failed("t")
        assert [document.document_id async for document in acme.list_documents(again.training_task_id)] == left
        assert (again.total, again.retry_of) == (10, "t")
        documents.end_all()
        assert (await acme.wait(again.training_task_id)).completed == 10


async def trained(client: doctrain.AsyncClient, training: str, count: int) -> bool:
    return (await client.get_training(training)).completed == count


async def test_a_retry_of_a_retry_names_the_first_training(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    async with await work(served, Failing()):
        await acme.start_training(numbered=numbered(4), training_task_id="t")
        await acme.wait("t")
        await acme.retry_failed("t", retry_task_id="second")
        assert (await acme.wait("second")).failed == 3
        third = await acme.retry_failed("second", retry_task_id="third")
        assert third.retry_of == "t"


async def test_retries_are_indexed_in_the_order_of_the_first_training(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    orders: dict[str, int] = {}

    class Noting(Failing):
        async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            orders[shard.training_task_id] = shard.index_order
            return await super().process(document, shard)

    async with await work(served, Noting()):
        for name in ("first", "second"):
            await acme.start_training(numbered=numbered(4), training_task_id=name)
            await acme.wait(name)
        for source, name in (("first", "retry"), ("retry", "again"), ("second", "other")):
            await acme.retry_failed(source, retry_task_id=name)
            await acme.wait(name)
    assert orders["first"] < orders["second"]
    assert orders["retry"] == orders["again"] == orders["first"]
    assert orders["other"] == orders["second"]


async def test_a_retry_leaves_out_what_was_indexed_since(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    database = await served.database()

    async def indexed(document_id: str, by: str) -> None:
        """As the workers of that training would write it."""
        await database.execute(
            """insert into indexed_document
                (tenant, document_id, training, index_order, ordinal, content_hash, media_type, model, chunk_count)
            select tenant, $1, id, coalesce(retry_of, id), 0, '', 'text/plain', 'm', 0 from training where task_id = $2""",
            document_id,
            by,
        )

    async def retried(source: str) -> list[str]:
        started = await acme.retry_failed(source)
        return [document.document_id async for document in acme.list_documents(started.training_task_id)]

    async with await work(served, Failing()):
        for name in ("first", "second"):
            await acme.start_training(numbered=numbered(4), training_task_id=name)
            await acme.wait(name)
        await acme.retry_failed("first", retry_task_id="retry")
        await acme.wait("retry")
        await indexed("0", "first")
        await indexed("1", "retry")
        await indexed("2", "second")
        assert await retried("first") == ["3"]
        assert await retried("retry") == ["1", "3"], "what stands there of the retry itself is no reason"
        assert await retried("second") == ["1", "2", "3"], "the retry of what is older is no reason"


async def test_many_failed_documents_are_loaded_behind_the_call(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack: a retry of millions in one transaction, many times at once, took every connection for minutes."""
    monkeypatch.setattr(failed_documents, "WINDOW", 7)
    failing = Failing()
    async with await work(served, failing):
        await acme.start_training(numbered=numbered(50), training_task_id="t")
        await acme.wait("t")
        await acme.start_training(
            [pb.DocumentInput(document_id=f"d{n}", uri=f"s3://bucket/{n}", metadata={"n": str(n)}) for n in range(20)],
            training_task_id="named",
        )
        await acme.wait("named")
        failing.mended = True
        monkeypatch.setattr(chunks, "FIRST", 2)
        monkeypatch.setattr(sizes, "LOADS", 0)
        first = await acme.retry_failed("t", error_classes=[pb.ERROR_CLASS_PERMANENT], retry_task_id="some")
        assert (first.total, first.sealed) == (1, False), "the one of the first seven"
        every = await acme.retry_failed("named", retry_task_id="every")
        assert (every.total, every.sealed) == (2, False)
        with pytest.raises(NothingToRetryError):
            await acme.retry_failed("t", error_classes=[pb.ERROR_CLASS_TRANSIENT])
        monkeypatch.setattr(sizes, "LOADS", 4)
        for name, count in (("some", 5), ("every", 6)):
            assert (await acme.wait(name)).completed == count
    assert [d.document_id async for d in acme.list_documents("some")] == ["1", "11", "21", "31", "41"]
    listed = [(d.document_id, d.uri, dict(d.metadata)) async for d in acme.list_documents("every")]
    assert listed == [(f"d{n}", f"s3://bucket/{n}", {"n": str(n)}) for n in (1, 2, 3, 11, 12, 13)]


async def test_a_retry_that_is_found_to_be_of_nothing_only_later_fails_with_a_sentence(
    served: Coordinators, acme: doctrain.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_documents, "WINDOW", 2)
    monkeypatch.setattr(retrying, "SEARCH_SECONDS", 0)
    async with await work(served, Failing()):
        await acme.start_training(numbered=numbered(20), training_task_id="t")
        await acme.wait("t")
        await acme.retry_failed("t", error_classes=[pb.ERROR_CLASS_TRANSIENT], retry_task_id="none")
        ended = await acme.wait("none")
    assert (ended.state, ended.total) == (pb.TRAINING_STATE_FAILED, 0)
    assert ended.reason == loaders.NOTHING_LEFT


async def test_failed_documents_say_how_they_failed(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    async with await work(served, Failing()):
        await acme.start_training(numbered=numbered(4), training_task_id="t")
        await acme.wait("t")
        failed = [d async for d in acme.list_documents("t", [pb.DOCUMENT_STATE_FAILED])]
    assert [d.error.error_class for d in failed] == [pb.ERROR_CLASS_PERMANENT, pb.ERROR_CLASS_RESOURCE, pb.ERROR_CLASS_CRASH]
    assert [(d.attempt, d.tries, d.error.code) for d in failed] == [(1, 1, "BROKEN"), (1, 2, "BROKEN"), (1, 2, "BROKEN")]


class Staged:
    """Tells of two stages, the second of which fails at document 1."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        stages = StageTiming("fetch", time.time(), 0.5, {"bytes": 7, "scheme": "s3"}), StageTiming("extract", time.time() + 0.5, 2.25)
        if document.ordinal == 1:
            return Failure(ErrorClass.PERMANENT, "BROKEN", "It is broken.", stages=stages)
        return Done(stages=stages)


async def test_a_document_shows_the_stages_that_it_passed(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    async with await work(served, Staged()):
        await acme.start_training(numbered=numbered(2), training_task_id="t")
        await acme.wait("t")
    listed = [d async for d in acme.list_documents("t")]
    watched = [document async for update in acme.watch("t", include_documents=True) for document in update.documents]
    assert watched == listed
    assert [document.state for document in listed] == [pb.DOCUMENT_STATE_COMPLETED, pb.DOCUMENT_STATE_FAILED]
    for document in listed:
        fetch, extract = document.stages
        assert (fetch.name, dict(fetch.counts), fetch.duration.ToMilliseconds()) == ("fetch", {"bytes": 7}, 500)
        assert (extract.name, dict(extract.counts), extract.duration.ToMilliseconds()) == ("extract", {}, 2250)
        assert document.start_time.ToNanoseconds() <= fetch.start_time.ToNanoseconds() < extract.start_time.ToNanoseconds()


class Unchanged:
    """Finds every document but the first unchanged, unless it is to read them all again."""

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        return Done(unchanged=document.ordinal > 0 and not shard.retrain)


async def test_unchanged_documents_are_shown_and_counted(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    async with await work(served, Unchanged()):
        await acme.start_training(numbered=numbered(12), training_task_id="t")
        ended = await acme.wait("t")
        await acme.start_training(numbered=numbered(12), training_task_id="again", retrain=True)
        again = await acme.wait("again")
        with pytest.raises(TrainingExistsError):
            await acme.start_training(numbered=numbered(12), training_task_id="again")
    assert (ended.completed, ended.unchanged, ended.message) == (12, 11, "Completed 12 documents; 11 unchanged.")
    assert [document.unchanged async for document in acme.list_documents("t")] == [False] + 11 * [True]
    assert (again.completed, again.unchanged) == (12, 0)


async def test_waiting_is_explained(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    await acme.start_training(numbered=numbered(50), training_task_id="first")
    assert rules(await acme.explain("first")) == [pb.HOLD_RULE_NO_WORKER]
    documents = Documents()
    async with await work(served, documents):
        await wait_until(lambda: len(documents.running) == 5)
        await acme.start_training(numbered=numbered(5), training_task_id="second")
        explained = await acme.explain("second")
        assert rules(explained) == [pb.HOLD_RULE_PLAN_LIMIT]
        assert (explained.plan_slots, explained.slots_in_use, explained.slots_in_use_by_others) == (5, 0, 5)
        assert [(a.training_task_id, a.slots) for a in explained.holds[0].ahead] == [("first", 5)]
        assert explained.holds[0].advice
        documents.end_all()
        await acme.wait("first")
        await acme.wait("second")
    assert not (await acme.explain("second")).holds


async def test_another_tenants_training_cannot_be_touched(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    await acme.start_training(numbered=numbered(5), training_task_id="t")
    other = await served.tenant("other")
    for call in (other.pause, other.resume, other.cancel, other.explain, other.retry_failed):
        with pytest.raises(TrainingNotFoundError):
            await call("t")
    assert not (await acme.get_training("t")).paused


async def test_dead_letters_are_explained_to_operators(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    operator = await served.client(await served.key(3))
    async with await work(served, Documents(free=True)):
        await served.broker.publish([Message(b"\xff garbage")])

        async def told() -> list[fleet_pb2.DeadLetter]:
            return await operator.fleet.list_dead_letters()

        (letter,) = await wait_until(told)
    assert letter.cause == "rejected"
    assert "no grant" in letter.explanation


async def test_how_fast_a_training_goes_leaves_out_the_time_of_a_pause(served: Coordinators, acme: doctrain.AsyncClient) -> None:
    documents = Documents()
    async with await work(served, documents):
        await acme.start_training(numbered=numbered(5_000), training_task_id="t")

        async def moving() -> bool:
            documents.end(*list(documents.running)[:1])
            return (await acme.get_training("t")).documents_per_second > 0

        await acme.pause("t")
        connection = await served.database()
        await connection.execute("update training set started_at = now() - interval '1 day', moved_at = now() - interval '1 day'")
        await acme.resume("t")
        await wait_until(lambda: len(documents.running) == 5)
        assert (await acme.get_training("t")).documents_per_second == 0, "nothing has ended since"
        await wait_until(moving, 30)
        assert (await acme.get_training("t")).documents_per_second > 1 / 60, "by the day it would be next to nothing"
        assert 0 < (await acme.cancel("t")).documents_per_second < 1 / 60, "of one that has ended, over all its time"
