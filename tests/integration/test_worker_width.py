"""The width of a shard that runs is changed by the tracker: more documents at once, or fewer, and never one more than is counted."""

from __future__ import annotations

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.pipeline.processor import DONE, DocumentTask, Done, ShardContext
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import Documents, settled, worker

pytestmark = pytest.mark.timeout(30)


def resized(width: int, resize: int, *, shard: int = 1, number: int = 1) -> pb.Resize:
    return pb.Resize(shard=pb.ShardRef(shard=shard, number=number), width=width, resize=resize)


def confirmed(script: Script) -> int:
    """The resize that the worker said last is in force."""
    beats = [beat for beat in script.told("beat") if beat.held]
    return max((held.resize for held in beats[-1].held), default=0) if beats else 0


async def test_a_shard_that_is_widened_runs_more_at_once_while_its_first_document_goes_on(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 6, width=1)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0})
        script.resizes = [resized(4, 1)]
        await wait_until(lambda: documents.running == {0, 1, 2, 3} and confirmed(script) == 1)
        assert running.holds.slots_in_use == 4
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert documents.most == 4
    assert await settled(broker)


async def test_one_that_is_narrowed_kills_nothing_starts_nothing_and_says_so_once_no_more_run(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 8, width=4)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1, 2, 3})
        script.resizes = [resized(2, 1)]
        await wait_until(lambda: running.holds.slots_in_use == 2)
        documents.end(0)
        await wait_until(lambda: 0 in script.results.get((1, 1), {}))
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 2)
        assert documents.running == {1, 2, 3}
        assert confirmed(script) == 0
        documents.end(1)
        await wait_until(lambda: confirmed(script) == 1)
        assert documents.running == {2, 3}
        documents.end(2)
        await wait_until(lambda: documents.running == {3, 4})
        script.resizes = [resized(3, 2)]
        await wait_until(lambda: documents.running == {3, 4, 5} and confirmed(script) == 2)
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert not documents.cancelled
    assert sorted(documents.started) == list(range(8))


async def test_a_result_that_is_not_answered_holds_its_slot_so_a_narrower_width_is_not_in_force(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 3, width=3)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1, 2})
        script.answer_blocks = False
        documents.end(0, 1)
        await wait_until(lambda: script.told("block"))
        script.resizes = [resized(1, 1)]
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 3)
        assert confirmed(script) == 0
        script.answer_blocks = True
        tracker.end_streams()  # what was not answered is said again on the next
        await wait_until(lambda: confirmed(script) == 1)
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)))


async def test_a_change_that_comes_late_or_is_of_another_grant_changes_nothing(broker: MemoryBroker) -> None:
    answer = begun(1, 2, 6, width=2)
    answer.resize = 3
    script, documents = Script({(1, 2): answer}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 2)])
        await wait_until(lambda: documents.running == {0, 1} and confirmed(script) == 3)
        script.resizes = [resized(5, 2, number=2), resized(5, 3, number=2), resized(5, 9, number=1), resized(5, 9, shard=2, number=2)]
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 3)
        assert documents.running == {0, 1}
        assert confirmed(script) == 3
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 2)))


async def test_suspects_stay_alone_whatever_the_width(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 4, width=1, suspects=(0, 1))}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        script.resizes = [resized(4, 1)]
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0} and confirmed(script) == 1)
        documents.end(0)
        await wait_until(lambda: documents.running == {1})
        documents.end(1)
        await wait_until(lambda: documents.running == {2, 3})
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)))


class AtOnce:
    """A processor that answers at once, with nothing to await."""

    def process(self, _document: DocumentTask, _shard: ShardContext) -> Done:
        return DONE


async def test_a_processor_that_answers_at_once_says_what_is_in_force_like_any_other(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 2_000, width=3)}, answer_blocks=False)
    async with tracker_server(script) as tracker, worker(broker, AtOnce(), tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.told("block"))
        script.resizes = [resized(1, 1)]
        beats = len(script.told("beat"))
        await wait_until(lambda: len(script.told("beat")) > beats + 2)
        assert confirmed(script) == 0
        script.answer_blocks = True
        tracker.end_streams()
        await wait_until(lambda: script.is_done((1, 1)))
