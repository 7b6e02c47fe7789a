"""What a worker says and says again until it is answered."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_worker.core.results import Columns
from doctrain_worker.tracking.exchange import (
    Begin,
    Block,
    BlockAnswer,
    BlockOutcome,
    Heard,
    Key,
    NotBegun,
    Said,
    Stopped,
    TrialAnswer,
    Yield,
)
from doctrain_worker.tracking.tracker import SessionLostError, Tracker, TrialRefusedError


class Shard:
    """Reports one result each time it is asked."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.outcomes: list[int] = []

    def block(self, sequence: int) -> Block:
        return Block(sequence, self.key, 0, Columns(0, [], [], [], []), [], None)

    def answered(self, answer: BlockAnswer) -> None:
        self.outcomes.append(answer.sequence)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recorded(sequence: int) -> Heard:
    return Heard(blocks=[BlockAnswer(sequence, BlockOutcome.RECORDED, shard_done=False)])


async def test_a_begin_is_said_at_once_and_again_when_it_stays_unanswered(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.begin((1, 1)))
    await asyncio.sleep(0)
    assert tracker.pause() == 0
    assert tracker.gather() == Said([Begin((1, 1))])
    clock.now += 4.9
    assert tracker.pause() is None
    clock.now += 0.1
    assert tracker.pause() == 0
    assert tracker.gather() == Said([Begin((1, 1))])
    tracker.answer(Heard(begins=[((1, 1), NotBegun.NOT_YOURS)]))
    assert await asked is NotBegun.NOT_YOURS
    clock.now += 10
    assert tracker.pause() is None


async def test_everything_unanswered_is_said_on_a_new_stream(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((2, 1))
    asked = asyncio.ensure_future(tracker.stopped((1, 1)))
    await asyncio.sleep(0)
    tracker.report(shard.key, shard, results=1, urgent=True)
    first = tracker.gather()
    tracker.stream_opened()
    assert tracker.gather() == first
    assert (first.questions, len(first.blocks)) == ([Stopped((1, 1))], 1)
    asked.cancel()


def test_a_block_is_answered_to_its_shard_once(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((1, 1))
    tracker.report(shard.key, shard, results=1)
    (block,) = tracker.gather().blocks
    answer = recorded(block.sequence)
    tracker.answer(answer)
    tracker.answer(answer)
    assert shard.outcomes == [block.sequence]


def test_a_hold_that_ends_leaves_a_later_grant_of_its_shard_alone(clock: Clock) -> None:
    tracker, later = Tracker(clock), Shard((1, 2))
    tracker.report(later.key, later, results=1)
    (block,) = tracker.gather().blocks
    tracker.report(later.key, later, results=1)
    tracker.forget((1, 1))
    assert len(tracker.gather().blocks) == 1
    tracker.answer(recorded(block.sequence))
    assert later.outcomes == [block.sequence]


def test_few_results_wait_a_little_and_many_or_the_last_do_not(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((1, 1))
    tracker.gather()
    tracker.report(shard.key, shard, results=1)
    assert tracker.pause() == pytest.approx(0.010)
    tracker.report(shard.key, shard, results=15)
    assert tracker.pause() == 0
    tracker.gather()
    tracker.report(shard.key, shard, results=1, urgent=True)
    assert tracker.pause() == 0


async def test_nobody_waits_for_a_session_that_is_lost(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((2, 1))
    asked = asyncio.ensure_future(tracker.hand_back((1, 1), 1.5, "because"))
    await asyncio.sleep(0)
    assert tracker.gather() == Said([Yield((1, 1), 1.5, "because")])
    tracker.report(shard.key, shard, results=1)
    tracker.session_lost()
    with pytest.raises(SessionLostError):
        await asked
    assert not tracker.gather()


def trial_answer(ordinal: int, *, committed: bool) -> Heard:
    return Heard(trials=[TrialAnswer((1, 1), ordinal, committed)])


async def test_a_trial_is_answered_by_what_names_its_document(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.trial((1, 1), 4))
    await asyncio.sleep(0)
    tracker.answer(trial_answer(3, committed=False))
    tracker.answer(trial_answer(3, committed=True))
    await asyncio.sleep(0)
    assert not asked.done()
    tracker.answer(trial_answer(4, committed=True))
    await asked


async def test_a_refused_trial_raises(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.trial((1, 1), 4))
    await asyncio.sleep(0)
    tracker.answer(trial_answer(4, committed=False))
    with pytest.raises(TrialRefusedError):
        await asked
