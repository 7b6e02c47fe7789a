"""What one shard of a worker may not do to the others: keep the gate shut, fill the prefetch, or lose its message to a fence."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.pipeline.child_processor import ChildProcessor
from doctrain_worker.pipeline.processor import (
    DONE,
    DocumentTask,
    ErrorClass,
    Failure,
    FencedError,
    NotHeldError,
    Outcome,
    ShardContext,
)
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from testkit.limits import LIMITS
from testkit.sandbox import TESTS
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import settled, worker, working

pytestmark = pytest.mark.timeout(30)


@dataclass
class Shards:
    """A processor that answers for each shard what a test set for it, once the test lets the shard go on."""

    outcomes: dict[int, Outcome | Exception] = field(default_factory=dict)
    started: list[tuple[int, int]] = field(default_factory=list)
    gates: dict[int, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        self.started.append((shard.shard, document.ordinal))
        await self.gates[shard.shard].wait()
        outcome = self.outcomes.get(shard.shard, DONE)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def let_go(self, *shards: int) -> None:
        for shard in shards:
            self.gates[shard].set()

    def of(self, shard: int) -> list[int]:
        return [ordinal for started, ordinal in self.started if started == shard]


def order(shard: int, kind: pb.OrderKind.ValueType) -> pb.Order:
    return pb.Order(shard=pb.ShardRef(shard=shard, number=1), kind=kind)


async def test_a_suspect_that_is_to_wait_sends_its_shard_back_and_lets_the_others_go_on(broker: MemoryBroker) -> None:
    script = Script({(1, 3): begun(1, 3, 4, suspects=(0, 2)), (2, 1): begun(2, 1, 5)})
    shards = Shards({1: Failure(ErrorClass.TRANSIENT, "UNAVAILABLE", "It asks to be left alone.", retry_after_seconds=300.0)})
    shards.let_go(1, 2)
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 3)])
        await wait_until(lambda: script.told("yield"))
        await broker.publish([message(2, 1)])
        await wait_until(lambda: script.is_done((2, 1)) and not running.holds.named())
    assert shards.of(1) == [0, 2]  # the other suspect was tried all the same
    assert [trial.ordinal for trial in script.told("trial")] == [0, 2]
    assert [300_000 <= item.delay_ms < 330_000 for item in script.told("yield")] == [True]
    assert not script.results.get((1, 3))
    assert await settled(broker)


async def test_what_waits_runs_between_two_trials_and_alone_is_who_is_on_trial(broker: MemoryBroker) -> None:
    suspects = tuple(range(50))
    script, shards = Script({(1, 3): begun(1, 3, 50, suspects=suspects), (2, 1): begun(2, 1, 2)}), Shards()
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 3)])
        await wait_until(lambda: shards.of(1) == [0])
        await broker.publish([message(2, 1)])
        await wait_until(lambda: running.holds.lanes_in_use == 2)
        assert shards.of(2) == []
        shards.let_go(1)
        await wait_until(lambda: len(shards.of(2)) == 2)
        tried = shards.of(1)
        assert len(tried) < len(suspects), "it did not wait for all of them"
        shards.let_go(2)
        await wait_until(lambda: script.is_done((1, 3)) and script.is_done((2, 1)) and not running.holds.named())
    place = shards.started.index((1, tried[-1]))
    assert shards.started[place + 1 : place + 3] == [(2, 0), (2, 1)], "nothing else started while they ran"
    assert shards.of(1) == list(suspects)


async def test_a_suspect_that_crashed_its_process_is_tried_again_at_once(broker: MemoryBroker) -> None:
    script = Script({(1, 3): begun(1, 3, 2, suspects=(0,))})
    shards = Shards({1: Failure(ErrorClass.CRASH, "CRASHED", "It crashed.")})
    shards.let_go(1)
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 3)])
        await wait_until(lambda: script.is_done((1, 3)) and not running.holds.named())
    assert shards.of(1)[:2] == [0, 0]
    assert [trial.ordinal for trial in script.told("trial")] == [0, 0]
    assert script.results[1, 3][0] == "CRASHED"


async def test_a_document_whose_failure_is_final_is_not_tried_again(broker: MemoryBroker) -> None:
    script = Script({(1, 1): begun(1, 1, 2)})
    shards = Shards({1: Failure(ErrorClass.RESOURCE, "TIME_LIMIT", "It took too long.", final=True)})
    shards.let_go(1)
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert sorted(shards.of(1)) == [0, 1]
    assert script.results[1, 1] == {0: "TIME_LIMIT", 1: "TIME_LIMIT"}


async def test_shards_that_wait_for_a_trial_go_back_when_told(broker: MemoryBroker) -> None:
    grants = {(1, 1): begun(1, 1, 2, suspects=(0,)), (2, 1): begun(2, 1, 5), (3, 1): begun(3, 1, 5, suspects=(1,))}
    script, shards = Script(grants), Shards()
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address, lanes=3) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: shards.of(1) == [0])
        await broker.publish([message(2, 1), message(3, 1)])
        await wait_until(lambda: running.holds.lanes_in_use == 3)
        script.orders[:] = [order(2, pb.ORDER_KIND_YIELD), order(3, pb.ORDER_KIND_YIELD)]
        await wait_until(lambda: sorted(item.shard.shard for item in script.told("yield")) == [2, 3])
        assert shards.of(1) == [0]
        shards.let_go(1)
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert shards.of(2) == shards.of(3) == []
    assert await settled(broker)


async def test_copies_of_a_held_shard_leave_room_for_others(broker: MemoryBroker) -> None:
    script = Script({(n, 1): begun(n, 1, 1) for n in range(1, 6)})
    shards = Shards()
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address, lanes=2) as running:
        await broker.publish([message(1, 1), message(2, 1), *(message(1, 1) for _ in range(7)), *(message(n, 1) for n in (3, 4, 5))])
        await wait_until(lambda: shards.of(1) and shards.of(2))
        shards.let_go(2, 3, 4, 5)
        await wait_until(lambda: all(script.is_done((n, 1)) for n in (2, 3, 4, 5)))
        await wait_until(lambda: list(running.holds.named()) == [(1, 1)])
        assert (await broker.depth()).ready == 0
    assert (await broker.depth()).ready == 1  # the newest copy was kept while the shard ran
    assert script.told("begin").count((1, 1)) == 1


async def test_a_worker_takes_as_many_on_deck_as_it_has_lanes(broker: MemoryBroker) -> None:
    script, shards = Script({(n, 1): begun(n, 1, 9) for n in range(1, 8)}), Shards()
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address, lanes=3, drain_seconds=0.1) as running:
        await broker.publish([message(n, 1) for n in range(1, 9)])
        await wait_until(lambda: running.holds.lanes_in_use == 3)
        assert (await broker.depth()).ready == 2


async def test_a_shard_that_the_index_says_is_not_held_is_acked(broker: MemoryBroker) -> None:
    script, shards = Script({(1, 1): begun(1, 1, 5)}), Shards({1: NotHeldError("not ours")})
    shards.let_go(1)
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: shards.started and not running.holds.named())
    assert script.told("begin") == [(1, 1)]
    assert await settled(broker)


async def test_a_shard_whose_children_were_fenced_is_asked_for_again(broker: MemoryBroker) -> None:
    script, shards = Script({(1, 1): begun(1, 1, 2)}), Shards({1: FencedError("The children were stopped.")})
    async with tracker_server(script) as tracker, worker(broker, shards, tracker.address) as running:
        await broker.publish([message(1, 1)])
        await wait_until(lambda: shards.started)
        script.on_event = lambda event, _: shards.outcomes.clear() if event == "begin" else None
        shards.let_go(1)
        await wait_until(lambda: script.is_done((1, 1)) and not running.holds.named())
    assert script.told("begin") == [(1, 1), (1, 1)]
    assert await settled(broker)


async def test_after_a_fence_by_the_guardian_every_shard_is_asked_for_in_the_next_session(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    script = Script({(1, 1): begun(1, 1, 3), (2, 1): begun(2, 1, 3)})
    function, shut_in = "testkit.child_functions:sleep_long", isolation.choose("rlimit")
    async with (
        tracker_server(script) as tracker,
        Guardian.open() as guardian,
        ChildProcessor.open(guardian, function, limits=replace(LIMITS, children=4), isolation=shut_in) as children,
        working(broker, children, tracker.address, guardian=guardian, drain_seconds=0.1) as running,
    ):
        await broker.publish([message(1, 1), message(2, 1)])
        await wait_until(lambda: len(script.told("begin")) == 2 and running.holds.lanes_in_use == 2)
        script.answer_beats = False
        await wait_until(lambda: script.sessions == 2)
        script.answer_beats = True
        await wait_until(lambda: len(script.told("begin")) == 4)
        assert sorted(script.told("begin")[2:]) == [(1, 1), (2, 1)]
        assert (await broker.depth()).ready == 0
    assert (await broker.depth()).ready == 2
