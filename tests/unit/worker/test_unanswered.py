"""Ended documents hold their slots until they are answered, but for one report batch."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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


class Slots(RuleBasedStateMachine):
    """Against a list of ends, oldest first, and the blocks that carry them."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered = Unanswered()
        self.ends: list[float] = []
        self.unsent = 0
        self.blocks: dict[int, int] = {}
        self.sequence = 0
        self.now = 100.0

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, BATCH_SECONDS, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_document_ends(self) -> None:
        if self.unanswered.room:
            self.ends.append(self.now)
            self.unsent += 1
            self.unanswered.ended(self.now)

    @precondition(lambda self: self.unsent)
    @rule()
    def a_block_is_sent(self) -> None:
        self.sequence += 1
        self.blocks[self.sequence] = self.unsent
        self.unanswered.sent(self.sequence, self.unsent)
        self.unsent = 0

    @precondition(lambda self: self.blocks)
    @rule(again=st.booleans())
    def the_oldest_block_is_answered(self, again: bool) -> None:
        sequence = min(self.blocks)
        del self.ends[: self.blocks.pop(sequence)]
        for _ in range(1 + again):
            self.unanswered.answered(sequence)

    @invariant()
    def old_ends_hold_slots_and_young_ones_do_not(self) -> None:
        assert len(self.unanswered) == len(self.ends)
        assert self.unanswered.room == MOST - len(self.ends)
        old = sum(self.now - end > BATCH_SECONDS for end in self.ends)
        for free in range(4):
            assert self.unanswered.leaves_slot(self.now, free) == (free > old)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
