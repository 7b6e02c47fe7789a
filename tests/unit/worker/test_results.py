"""Results of a hold: as columns, and as what holds slots until it is answered, but for one report batch."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from doctrain_worker.core.results import BATCH_SECONDS, MOST, Columns, FailedResult, Results


def test_nothing_gathered_makes_empty_columns() -> None:
    results = Results(0.0)
    assert results.take(1) == Columns(0, [], [], [], [])
    assert len(results) == 0


def test_a_run_of_documents_fills_its_columns_in_milliseconds_of_the_hold() -> None:
    results = Results(100.0)
    for ordinal in (5, 6, 7):
        results.add(ordinal, 100.0 + ordinal, 100.5 + ordinal)
    assert results.take(1) == Columns(5, [5000, 6000, 7000], [500, 500, 500], [], [])


def test_places_without_a_result_are_marked() -> None:
    results = Results(0.0)
    results.add(9, 9.0, 9.5)
    results.add(6, 6.0, 6.25)
    assert results.take(1) == Columns(6, [6000, -1, -1, 9000], [250, 0, 0, 500], [], [])


def test_any_order_gives_the_same_columns() -> None:
    ordinals = list(range(100, 140))
    random.Random(7).shuffle(ordinals)
    results = Results(0.0)
    for ordinal in ordinals:
        results.add(ordinal, float(ordinal), ordinal + 1.0)
    columns = results.take(1)
    assert columns.started == [ordinal * 1000 for ordinal in range(100, 140)]


def test_taking_starts_over_and_keeps_what_was_taken() -> None:
    results, failed = Results(0.0), FailedResult(1, 2, "ENCRYPTED", "It is encrypted.")
    results.add(1, 10.0, 11.0, 3, failed)
    first = results.take(1)
    results.add(2, 20.0, 21.0)
    assert results.gathered == 1
    assert first == Columns(1, [10_000], [1000], [failed], [(1, 3)])
    assert results.take(2) == Columns(2, [20_000], [1000], [], [])


def test_what_ended_within_a_batch_holds_no_slot() -> None:
    results = Results(0.0)
    results.add(0, 0.0, 1.0)
    assert results.leaves_slot(1.0 + BATCH_SECONDS, free=1)
    assert not results.leaves_slot(1.001 + BATCH_SECONDS, free=1)
    assert results.leaves_slot(1.001 + BATCH_SECONDS, free=2)
    assert not results.leaves_slot(1.0, free=0)


def test_an_answer_frees_the_slots_of_its_block_once() -> None:
    results = Results(0.0)
    results.add(0, 0.0, 0.0)
    results.add(1, 0.0, 0.0)
    results.take(7)
    results.add(2, 0.0, 0.5)
    assert not results.leaves_slot(0.51, free=2)
    results.answered(7)
    results.answered(7)
    assert len(results) == 1
    assert results.leaves_slot(0.51, free=1)


def test_a_full_batch_holds_every_slot() -> None:
    results = Results(0.0)
    for ordinal in range(MOST):
        results.add(ordinal, 0.0, 1.0)
    assert results.room == 0
    assert not results.leaves_slot(1.0, free=5)


class Slots(RuleBasedStateMachine):
    """Against the ends of what gathered, oldest first, and of what each unanswered block carries."""

    def __init__(self) -> None:
        super().__init__()
        self.results = Results(0.0)
        self.gathered: list[float] = []
        self.blocks: dict[int, list[float]] = {}
        self.sequence = 0
        self.now = 100.0

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, BATCH_SECONDS, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_document_ends(self) -> None:
        if self.results.room:
            self.gathered.append(self.now)
            self.results.add(len(self.gathered), self.now, self.now)

    @rule()
    def a_block_is_sent(self) -> None:
        self.sequence += 1
        if self.gathered:
            self.blocks[self.sequence] = self.gathered
        self.results.take(self.sequence)
        self.gathered = []

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), again=st.booleans())
    def a_block_is_answered(self, data: st.DataObject, again: bool) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.blocks)))
        del self.blocks[sequence]
        for _ in range(1 + again):
            self.results.answered(sequence)

    @invariant()
    def old_ends_hold_slots_and_young_ones_do_not(self) -> None:
        ends = [*(end for block in self.blocks.values() for end in block), *self.gathered]
        assert len(self.results) == len(ends)
        assert self.results.gathered == len(self.gathered)
        assert self.results.room == MOST - len(ends)
        old = sum(self.now - end > BATCH_SECONDS for end in ends)
        for free in range(4):
            assert self.results.leaves_slot(self.now, free) == (free > old)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
