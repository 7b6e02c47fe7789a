"""A worker's shards against scripted coordinators on real gRPC, with a guardian of its own and the in-process broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.ports import Message
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.core.retry import MOST_COOL_DOWNS, MOST_LONE_COOL_DOWNS
from doctrain_worker.pipeline.processor import DONE, DocumentTask, ErrorClass, Failure, FencedError, Outcome, ShardContext
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import Documents, settled, worker

pytestmark = pytest.mark.timeout(30)


async def test_a_shard_is_acked_only_when_its_last_result_is_answered(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 10)}, answer_blocks=False)
    documents = Documents(free=True)
    async with tracker_server(script) as tracker:
        async with worker(broker, documents, tracker.address, drain_seconds=0.1):
            await broker.publish([message(1, 1)])
            await wait_until(lambda: script.told("block"))
        assert (await broker.depth()).ready == 1
        script.answer_blocks = True
        documents.started.clear()
        script.shards[1, 1] = begun(1, 1, 10)
        async with worker(broker, documents, tracker.address) as running:
            await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert await settled(broker)
    assert sorted(documents.started) == list(range(10))


async def test_a_window_slides_over_its_shard_and_never_runs_more_than_its_width(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 6, width=3)})
    documents = Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1, 2})
        documents.end(1, 2)
        await wait_until(lambda: documents.running == {0, 3, 4})
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)))
    assert documents.most == 3
    assert documents.started == [0, 1, 2, 3, 4, 5]
    assert await settled(broker)


async def test_a_shard_that_is_not_ours_is_acked_and_not_run(broker: MemoryBroker) -> None:
    script, documents = Script(), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("begin") and not running.holds.named())
    assert documents.started == []
    assert await settled(broker)


async def test_deliveries_of_one_grant_are_begun_once_and_all_acked(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 2)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1), message(1, 1), message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        documents.end_all()
        await wait_until(lambda: not running.holds.named())
    assert script.told("begin") == [(1, 1)]
    assert await settled(broker)


async def test_a_later_grant_of_a_shard_ends_the_earlier_one_before_it_runs(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 2), (1, 2): begun(1, 2, 2)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        await broker.publish([message(1, 2)])
        await wait_until(lambda: len(documents.started) == 4)
        assert list(running.holds.named()) == [(1, 2)]
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 2)) and not running.holds.named())
    assert documents.most == 2
    assert sorted(documents.cancelled) == [0, 1]
    assert (1, 1) not in script.results
    assert await settled(broker)


async def test_a_number_that_the_tracker_does_not_know_ends_no_hold(broker: MemoryBroker) -> None:
    """Whoever may write to the queue can make numbers up."""
    script, documents = Script({(1, 1): begun(1, 1, 2)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.answer_begins = False
        await broker.publish([message(1, 9)])
        await wait_until(lambda: (1, 9) in script.told("begin"))
        assert list(running.holds.named()) == [(1, 1)]
        tracker.send(pb.TrackResponse(begins=[pb.BeginAnswer(shard=pb.ShardRef(shard=1, number=9), outcome=pb.BEGIN_OUTCOME_NOT_YOURS)]))
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert documents.cancelled == []
    assert await settled(broker)


async def test_garbage_goes_to_the_dead_letters(broker: MemoryBroker) -> None:
    async with tracker_server(Script()) as tracker, worker(broker, Documents(), tracker.address):
        await broker.publish([Message(b"\xff\xff"), Message(b"")])
        async with broker.dead_letters(2) as letters:
            assert [(await anext(letters)).message.body, (await anext(letters)).message.body] == [b"\xff\xff", b""]
    assert await settled(broker)


@pytest.mark.parametrize("told_by", ["block", "heartbeat"])
async def test_a_shard_taken_away_is_stopped_and_acked(broker: MemoryBroker, told_by: str) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 5)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        if told_by == "block":
            script.stale.add((1, 1))
            documents.end(0)
        else:
            script.not_yours.append((1, 1))
        await wait_until(lambda: not running.holds.named())
        assert not documents.running
    # What may be its own still, as a cancelled shard is, is given back before the ack.
    assert [(told.shard.shard, told.shard.number) for told in script.told("stopped")] == [(1, 1)]
    assert await settled(broker)


async def test_a_shard_whose_results_are_invalid_is_handed_back_and_not_called_done(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3)}, invalid={(1, 1)}), Documents(free=True)
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("yield") and not running.holds.named())
    (handed_back,) = script.told("yield")
    assert (handed_back.shard.shard, handed_back.delay_ms) == (1, 60_000)
    assert await settled(broker)


async def test_a_shard_whose_children_were_fenced_is_asked_for_again_before_it_is_acked(broker: MemoryBroker) -> None:
    """A fence says nothing of whose the shard is: that is the tracker's to say (simulation, seed 34)."""
    script = Script({(1, 1): begun(1, 1, 5)})

    class Fencing(Documents):
        async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            script.shards.clear()  # from now on it is another's
            raise FencedError("The children of this session were stopped.")

    async with tracker_server(script) as tracker, worker(broker, Fencing(), tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("begin") and not running.holds.named())
    assert script.told("begin") == [(1, 1), (1, 1)]
    assert script.told("block") == []
    assert await settled(broker)


async def test_an_order_to_stop_is_obeyed_before_it_is_said_so(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 5)}), Documents()
    running_then: list[set[int]] = []
    script.on_event = lambda event, _: running_then.append(set(documents.running)) if event == "stopped" else None
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.orders.append(pb.Order(shard=pb.ShardRef(shard=1, number=1), kind=pb.ORDER_KIND_STOP))
        await wait_until(lambda: not running.holds.named())
    assert running_then == [set()]
    assert sorted(documents.cancelled) == [0, 1]
    assert await settled(broker)


async def test_an_order_to_yield_lets_what_runs_end_and_hands_the_rest_back(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 5)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.orders.append(pb.Order(shard=pb.ShardRef(shard=1, number=1), kind=pb.ORDER_KIND_YIELD))
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 2)
        assert script.told("yield") == []
        documents.end_all()
        await wait_until(lambda: not running.holds.named())
    assert documents.started == [0, 1]
    assert script.results[1, 1].keys() == {0, 1}
    assert [(item.shard.number, item.delay_ms) for item in script.told("yield")] == [(1, 0)]
    assert await settled(broker)


async def test_a_shard_held_too_long_is_handed_back(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 500)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address, hold_seconds=0.1):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 5)
        documents.end_all()
        await wait_until(lambda: script.told("yield"))
    assert "held" in script.told("yield")[0].reason
    assert script.results[1, 1].keys() == {0, 1}


async def test_suspects_run_alone_each_announced_before(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 4, suspects=(1, 3)), (2, 1): begun(2, 1, 3)})
    documents, order = Documents(), list[tuple[str, int]]()
    script.on_event = lambda event, detail: order.append((event, detail.ordinal)) if event == "trial" else None
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(2, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        await broker.publish([message(1, 1)])
        await wait_until(lambda: (1, 1) in script.told("begin"))
        documents.end(0)
        await wait_until(lambda: documents.running == {1})
        assert order == []  # another's document still runs
        documents.started.clear()
        documents.end(1)
        await wait_until(lambda: documents.running == {2})  # which waited meanwhile
        assert (documents.started, order) == ([1, 2], [("trial", 1)])
        documents.end(2)
        await wait_until(lambda: documents.started == [1, 2, 3])
        assert order == [("trial", 1), ("trial", 3)]
        assert documents.running == {3}
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and script.is_done((2, 1)))


async def test_a_refused_trial_ends_the_hold_and_lets_the_others_go_on(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 4, suspects=(1,)), (2, 1): begun(2, 1, 3)}, refused_trials={(1, 1)})
    documents = Documents(free=True)
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("trial") and not running.holds.named())
        await broker.publish([message(2, 1)])
        await wait_until(lambda: script.is_done((2, 1)) and not running.holds.named())
    assert (1, 1) not in script.results
    assert await settled(broker)


@pytest.mark.parametrize("error_class", [ErrorClass.TRANSIENT, ErrorClass.RESOURCE, ErrorClass.CRASH])
async def test_failures_are_tried_again_within_their_budget(broker: MemoryBroker, error_class: ErrorClass) -> None:
    script = Script({(1, 1): begun(1, 1, 2, cool_downs=MOST_LONE_COOL_DOWNS)})
    documents = Documents(free=True, outcome=Failure(error_class, "SLOW", "Too slow."))
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address, max_tries=2):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.is_done((1, 1)))
    assert script.results[1, 1] == {0: "SLOW", 1: "SLOW"}
    assert sorted(documents.started) == [0, 0, 1, 1]
    retried = {o: tries for block in script.told("block") for o, tries in zip(block.retried, block.tries, strict=True)}
    assert retried == {0: 2, 1: 2}


async def test_a_fault_that_every_document_meets_is_logged_with_one_trace(broker: MemoryBroker, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty:
        async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            if document.ordinal == 7:
                raise LookupError("another fault")
            raise ValueError(document.uri)

    script = Script({(1, 1): begun(1, 1, 12, cool_downs=MOST_COOL_DOWNS)})
    async with tracker_server(script) as tracker, worker(broker, Faulty(), tracker.address, max_tries=1):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.is_done((1, 1)))
    assert script.results[1, 1] == dict.fromkeys(range(12), "PROCESSOR_FAULT")
    faults = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info and record.exc_info[0] for record in faults] == [ValueError, LookupError, None]
    assert "It is the same fault for the 10th time (ValueError at " in faults[-1].getMessage()


async def test_a_lone_document_whose_source_is_down_goes_back_for_a_while(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 1)})
    documents = Documents(free=True, outcome=Failure(ErrorClass.TRANSIENT, "DOWN", "The source is down."))
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address, max_tries=2):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("yield"))
    assert script.told("yield")[0].delay_ms == 15_000
    assert not script.results.get((1, 1))


async def test_when_most_documents_fail_transiently_the_shard_goes_back_for_a_while(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 50)})
    documents = Documents(free=True, outcome=Failure(ErrorClass.TRANSIENT, "DOWN", "The source is down."))
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("yield") and not running.holds.named())
    handed_back = script.told("yield")[0]
    assert handed_back.delay_ms == 15_000
    assert handed_back.reason.endswith("The last of them: The source is down.")
    assert not script.results.get((1, 1))
    assert await settled(broker)


async def test_a_plain_processor_runs_one_shard_after_the_other(broker: MemoryBroker) -> None:
    class Plain:
        def __init__(self) -> None:
            self.shards: list[int] = []

        def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
            if not self.shards or self.shards[-1] != shard.shard:
                self.shards.append(shard.shard)
            return DONE

    grants = [(1, 1), (2, 1)]
    script, processor = Script({grant: begun(*grant, 300) for grant in grants}), Plain()
    async with tracker_server(script) as tracker, worker(broker, processor, tracker.address):
        await broker.publish([message(*grant) for grant in grants])
        await wait_until(lambda: all(script.is_done(grant) for grant in grants))
    assert sorted(processor.shards) == [1, 2]


class PlainThatAwaits:
    def process(self, document: DocumentTask, shard: ShardContext) -> Awaitable[Outcome]:
        return asyncio.sleep(0, DONE)


class PlainWithoutAnswer:
    def process(self, document: DocumentTask, shard: ShardContext) -> None:
        return None


class AsyncWithoutAnswer:
    async def process(self, document: DocumentTask, shard: ShardContext) -> None:
        return None


@pytest.mark.parametrize("processor", [PlainThatAwaits(), PlainWithoutAnswer(), AsyncWithoutAnswer()], ids=lambda p: type(p).__name__)
async def test_a_processor_that_answers_no_outcome_is_told_what_to_answer(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture, processor: Any
) -> None:
    script = Script({(1, 1): begun(1, 1, 20)})
    async with tracker_server(script) as tracker, worker(broker, processor, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("yield"))
    assert "`process` must be `async def`, or answer with Done or Failure" in caplog.text
    assert not script.results.get((1, 1))
