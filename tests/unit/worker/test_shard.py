"""One hold of a shard, without a tracker behind it."""

from __future__ import annotations

import asyncio

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.shards.orders import End
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.shards.shard import ShardRun
from doctrain_worker.shards.spans import shard_span
from doctrain_worker.tracking import messages
from doctrain_worker.tracking.exchange import Begun, BlockAnswer, BlockOutcome, Heard, TrialAnswer
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.tracker import Tracker
from testkit.scripted_tracker import begun
from testkit.worker import Documents


def given(answer: pb.BeginAnswer) -> Begun:
    """A shard as the worker has it from the tracker's answer."""
    ((_, begun),) = messages.heard(pb.TrackResponse(begins=[answer])).begins
    assert isinstance(begun, Begun)
    return begun


async def test_nothing_starts_once_the_shard_is_known_not_to_be_ours() -> None:
    """The answer that says so also frees the slots of what it answers (simulation, seed 747 of its first version)."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.1  # longer than a report batch: what has ended holds its slot until it is answered
        return now

    tracker, documents = Tracker(clock), Documents(free=True)
    setup = ShardSetup(tracker=tracker, gate=Gate(), processor=documents, retries={}, hold_seconds=900.0, clock=clock)
    with shard_span("", (1, 1), "worker", 0.0) as spans:
        run = ShardRun(setup, given(begun(1, 1, 5, width=1)), spans, 1, lambda: None)
    task = asyncio.create_task(run.run())
    for _ in range(20):
        await asyncio.sleep(0)
    (block,) = tracker.gather().blocks
    tracker.answer(Heard(blocks=[BlockAnswer(block.sequence, BlockOutcome.STALE, shard_done=False)]))
    for _ in range(20):
        await asyncio.sleep(0)
    tracker.answer(Heard(stopped=[(1, 1)]))
    async with asyncio.timeout(5):
        assert await task is End.STALE
    assert documents.started == [0]


async def test_no_trial_starts_once_the_shard_is_known_not_to_be_ours() -> None:
    """One response may carry the answer to the trial and the one that says so."""
    tracker, documents = Tracker(), Documents(free=True)
    setup = ShardSetup(tracker=tracker, gate=Gate(), processor=documents, retries={}, hold_seconds=900.0)
    with shard_span("", (1, 1), "worker", 0.0) as spans:
        run = ShardRun(setup, given(begun(1, 1, 5, width=1, suspects=(3,))), spans, 1, lambda: None)
    task = asyncio.create_task(run.run())
    for _ in range(20):
        await asyncio.sleep(0)
    tracker.answer(Heard(trials=[TrialAnswer((1, 1), 3, committed=True)]))
    run.interrupt(End.STALE)
    for _ in range(20):
        await asyncio.sleep(0)
    tracker.answer(Heard(stopped=[(1, 1)]))
    async with asyncio.timeout(5):
        assert await task is End.STALE
    assert documents.started == []
