"""Ended documents hold their slots until they are answered, but for one report batch."""

from __future__ import annotations

from doctrain_worker.core.unanswered import BATCH_SECONDS, MOST, Unanswered


def test_what_ended_within_a_batch_holds_no_slot() -> None:
    unanswered = Unanswered()
    unanswered.ended(1.0)
    assert unanswered.leaves_slot(1.0 + BATCH_SECONDS, free=1)
    assert not unanswered.leaves_slot(1.001 + BATCH_SECONDS, free=1)
    assert unanswered.leaves_slot(1.001 + BATCH_SECONDS, free=2)
    assert not unanswered.leaves_slot(1.0, free=0)


def test_an_answer_frees_the_slots_of_its_block_once() -> None:
    unanswered = Unanswered()
    for end in (0.0, 0.0, 0.5):
        unanswered.ended(end)
    unanswered.sent(7, 2)
    assert not unanswered.leaves_slot(0.51, free=2)
    unanswered.answered(7)
    unanswered.answered(7)
    assert len(unanswered) == 1
    assert unanswered.leaves_slot(0.51, free=1)


def test_a_full_batch_holds_every_slot() -> None:
    unanswered = Unanswered()
    for _ in range(MOST):
        unanswered.ended(1.0)
    assert unanswered.room == 0
    assert not unanswered.leaves_slot(1.0, free=5)
