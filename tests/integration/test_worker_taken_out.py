"""A worker that is taken out of work: it lets go of what it has not begun, and of what it has as it is told."""

from __future__ import annotations

from functools import partial

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.v1 import tracker_pb2 as pb
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import Documents, settled, worker

pytestmark = pytest.mark.timeout(30)


async def is_ready(broker: MemoryBroker) -> int:
    """How many messages are."""
    return (await broker.depth()).ready


async def test_a_cordoned_worker_keeps_what_it_holds_and_lets_go_of_the_messages(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 4), (2, 1): begun(2, 1, 1)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        script.cordoned = True
        await wait_until(partial(is_ready, broker))
        await broker.publish([message(2, 1)])
        documents.end_all()
        await wait_until(lambda: script.is_done((1, 1)))
        await wait_until(lambda: not running.holds.named())
        assert script.told("begin") == [(1, 1)]
        assert (await broker.depth()).ready == 2
        del script.shards[1, 1]
        script.cordoned = False
        await wait_until(lambda: script.is_done((2, 1)))
        await wait_until(lambda: not running.holds.named())
    assert sorted(documents.started) == [0, 0, 1, 2, 3]
    assert await settled(broker)


async def test_a_worker_that_joins_while_it_is_cordoned_takes_no_message(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 1)}, cordoned=True)
    await broker.publish([message(1, 1)])
    async with tracker_server(script) as tracker, worker(broker, Documents(free=True), tracker.address):
        await wait_until(lambda: len(script.told("beat")) > 2)
        assert (await broker.depth()).ready == 1
    assert script.told("begin") == []


async def test_a_hold_that_is_cut_kills_what_runs_and_hands_back_the_rest(broker: MemoryBroker) -> None:
    script, documents = Script({(1, 1): begun(1, 1, 4)}), Documents()
    async with tracker_server(script) as tracker, worker(broker, documents, tracker.address):
        await broker.publish([message(1, 1)])
        await wait_until(lambda: documents.running == {0, 1})
        documents.end(0)
        await wait_until(lambda: script.results.get((1, 1)) == {0: "done"})
        script.orders = [pb.Order(shard=pb.ShardRef(shard=1, number=1), kind=pb.ORDER_KIND_CUT)]
        await wait_until(lambda: script.told("yield"))
        assert documents.running == set()
    assert sorted(documents.cancelled) == [1, 2]
    assert script.told("stopped") == []
    assert await settled(broker)
