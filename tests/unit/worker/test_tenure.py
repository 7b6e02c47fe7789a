"""When a session may run, moves, is attached anew, or is fenced."""

from __future__ import annotations

import pytest

from doctrain_worker.core.tenure import REATTACH_SECONDS, SHORTEST_ATTEMPT_SECONDS, WELCOME_SECONDS, Step, Tenure

LEASE, BEAT, MARGIN = 10.0, 1.0, 2.0


@pytest.fixture
def tenure() -> Tenure:
    """Session 7, over a stream that was asked for at 100."""
    made = Tenure(MARGIN)
    made.welcomed(7, LEASE, BEAT, 100.0)
    made.carried(100.0)
    return made


@pytest.mark.parametrize(
    ("margin", "lease", "beat", "fits"),
    [(2.0, 10.0, 1.0, True), (5.0, 10.0, 1.0, True), (5.1, 10.0, 1.0, False), (2.0, 4.0, 0.5, True), (2.0, 4.0, 1.0, False)],
)
def test_a_margin_leaves_time_for_heartbeats_and_half_the_lease(margin: float, lease: float, beat: float, fits: bool) -> None:
    assert Tenure(margin).fits(lease, beat) is fits


def test_the_deadline_counts_from_when_the_answered_heartbeat_was_sent(tenure: Tenure) -> None:
    assert tenure.deadline == 108.0
    first, _ = tenure.beat(101.0)
    second, _ = tenure.beat(102.0)
    assert tenure.answered(second, 104.0, lost=False) is Step.STAY
    assert tenure.deadline == 110.0
    tenure.answered(first, 105.0, lost=False)
    tenure.answered(second, 105.0, lost=False)
    tenure.answered(99, 105.0, lost=False)
    assert tenure.deadline == 110.0


def test_past_its_deadline_a_session_is_fenced(tenure: Tenure) -> None:
    assert tenure.beat(108.0)[1] is not Step.FENCE
    assert tenure.beat(108.1)[1] is Step.FENCE


def test_a_stream_whose_heartbeats_stay_unanswered_is_left_for_another(tenure: Tenure) -> None:
    number, step = tenure.beat(103.0)
    assert step is Step.STAY
    assert tenure.beat(103.1)[1] is Step.MOVE
    tenure.answered(number, 103.2, lost=False)
    assert tenure.beat(104.0)[1] is Step.STAY


def test_answers_to_heartbeats_of_the_stream_before_extend_nothing(tenure: Tenure) -> None:
    number, _ = tenure.beat(101.0)
    tenure.welcomed(7, LEASE, BEAT, 101.5)
    tenure.carried(101.5)
    tenure.answered(number, 102.0, lost=False)
    assert tenure.deadline == 109.5


def test_a_session_that_was_taken_back_is_fenced(tenure: Tenure) -> None:
    assert tenure.answered(1, 101.0, lost=True) is Step.FENCE


def test_while_another_coordinator_is_asked_a_lost_session_may_be_its_already(tenure: Tenure) -> None:
    tenure.asking()
    assert tenure.answered(1, 101.0, lost=True) is Step.HURRY
    tenure.welcomed(7, LEASE, BEAT, 100.9)
    assert tenure.answered(2, 101.1, lost=True) is Step.HURRY  # said before the new stream is in use
    tenure.carried(100.9)
    assert tenure.answered(3, 101.2, lost=True) is Step.FENCE


def test_a_coordinator_that_was_never_reached_changes_nothing(tenure: Tenure) -> None:
    tenure.asking()
    assert tenure.missed(told=False) is Step.STAY
    assert tenure.answered(1, 101.0, lost=True) is Step.FENCE


@pytest.mark.parametrize("lost_first", [False, True])
def test_a_coordinator_that_may_have_been_told_makes_a_new_stream_necessary(tenure: Tenure, lost_first: bool) -> None:
    tenure.asking()
    if lost_first:
        tenure.answered(1, 101.0, lost=True)
    assert tenure.missed(told=not lost_first) is Step.REATTACH
    assert tenure.answered(2, 101.1, lost=True) is Step.HURRY  # the stream that is being left; it ends nothing


def test_a_detached_session_has_its_time_for_all_coordinators_together(tenure: Tenure) -> None:
    tenure.detached(105.0)
    assert tenure.attempt_seconds(105.0, 2) == pytest.approx(REATTACH_SECONDS / 2)
    assert tenure.attempt_seconds(105.0, 100) == SHORTEST_ATTEMPT_SECONDS
    now, tried = 105.0, 0
    while (seconds := tenure.attempt_seconds(now, 100)) is not None:
        now, tried = now + seconds, tried + 1
    assert tried == pytest.approx(REATTACH_SECONDS / SHORTEST_ATTEMPT_SECONDS, abs=1)
    assert now == pytest.approx(105.0 + REATTACH_SECONDS)


def test_a_new_session_takes_its_time_to_open_and_has_a_deadline_of_its_own(tenure: Tenure) -> None:
    assert tenure.ended() == 7
    assert tenure.attempt_seconds(1e9, 20) == WELCOME_SECONDS
    tenure.welcomed(8, 4.0, BEAT, 101.0)
    assert (tenure.session, tenure.deadline) == (8, 103.0)
