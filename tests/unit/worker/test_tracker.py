"""What a worker says and says again until it is answered."""

from __future__ import annotations

import asyncio

import pytest

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.tracking.tracker import Key, SessionLostError, Tracker, TrialRefusedError


class Shard:
    """Reports one result each time it is asked."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.outcomes: list[int] = []

    def block(self, sequence: int) -> pb.Block:
        return pb.Block(sequence=sequence, shard=pb.ShardRef(shard=self.key[0], number=self.key[1]))

    def answered(self, answer: pb.BlockAnswer) -> None:
        self.outcomes.append(answer.sequence)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sent(tracker: Tracker) -> pb.TrackRequest:
    request = pb.TrackRequest()
    tracker.gather(request)
    return request


async def test_a_begin_is_said_at_once_and_again_when_it_stays_unanswered(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.begin((1, 1)))
    await asyncio.sleep(0)
    assert tracker.pause() == 0
    assert len(sent(tracker).begins) == 1
    clock.now += 4.9
    assert tracker.pause() is None
    clock.now += 0.1
    assert tracker.pause() == 0
    assert len(sent(tracker).begins) == 1
    tracker.answer(pb.TrackResponse(begins=[pb.BeginAnswer(shard=pb.ShardRef(shard=1, number=1), tenant=9)]))
    assert (await asked).tenant == 9
    clock.now += 10
    assert tracker.pause() is None


async def test_everything_unanswered_is_said_on_a_new_stream(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((2, 1))
    asked = asyncio.ensure_future(tracker.stopped((1, 1)))
    await asyncio.sleep(0)
    tracker.report(shard.key, shard, results=1, urgent=True)
    first = sent(tracker)
    tracker.stream_opened()
    again = sent(tracker)
    assert (list(again.stopped), list(again.blocks)) == (list(first.stopped), list(first.blocks))
    asked.cancel()


def test_a_block_is_answered_to_its_shard_once(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((1, 1))
    tracker.report(shard.key, shard, results=1)
    (block,) = sent(tracker).blocks
    answer = pb.TrackResponse(blocks=[pb.BlockAnswer(sequence=block.sequence)])
    tracker.answer(answer)
    tracker.answer(answer)
    assert shard.outcomes == [block.sequence]


def test_a_hold_that_ends_leaves_a_later_grant_of_its_shard_alone(clock: Clock) -> None:
    tracker, later = Tracker(clock), Shard((1, 2))
    tracker.report(later.key, later, results=1)
    (block,) = sent(tracker).blocks
    tracker.report(later.key, later, results=1)
    tracker.forget((1, 1))
    assert len(sent(tracker).blocks) == 1
    tracker.answer(pb.TrackResponse(blocks=[pb.BlockAnswer(sequence=block.sequence)]))
    assert later.outcomes == [block.sequence]


def test_few_results_wait_a_little_and_many_or_the_last_do_not(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((1, 1))
    sent(tracker)
    tracker.report(shard.key, shard, results=1)
    assert tracker.pause() == pytest.approx(0.010)
    tracker.report(shard.key, shard, results=15)
    assert tracker.pause() == 0
    sent(tracker)
    tracker.report(shard.key, shard, results=1, urgent=True)
    assert tracker.pause() == 0


async def test_nobody_waits_for_a_session_that_is_lost(clock: Clock) -> None:
    tracker, shard = Tracker(clock), Shard((2, 1))
    asked = asyncio.ensure_future(tracker.hand_back((1, 1), 1.5, "because"))
    await asyncio.sleep(0)
    assert sent(tracker).yields[0].delay_ms == 1500
    tracker.report(shard.key, shard, results=1)
    tracker.session_lost()
    with pytest.raises(SessionLostError):
        await asked
    assert not sent(tracker).ByteSize()


def trial_answer(ordinal: int, outcome: pb.TrialOutcome.ValueType) -> pb.TrackResponse:
    return pb.TrackResponse(trial_answers=[pb.TrialAnswer(shard=pb.ShardRef(shard=1, number=1), ordinal=ordinal, outcome=outcome)])


async def test_a_trial_is_answered_by_what_names_its_document(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.trial((1, 1), 4))
    await asyncio.sleep(0)
    tracker.answer(trial_answer(3, pb.TRIAL_OUTCOME_REFUSED))
    tracker.answer(trial_answer(3, pb.TRIAL_OUTCOME_STARTED))
    await asyncio.sleep(0)
    assert not asked.done()
    tracker.answer(trial_answer(4, pb.TRIAL_OUTCOME_STARTED))
    await asked


async def test_a_refused_trial_raises(clock: Clock) -> None:
    tracker = Tracker(clock)
    asked = asyncio.ensure_future(tracker.trial((1, 1), 4))
    await asyncio.sleep(0)
    tracker.answer(trial_answer(4, pb.TRIAL_OUTCOME_REFUSED))
    with pytest.raises(TrialRefusedError):
        await asked
