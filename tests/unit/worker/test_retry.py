"""When a failure is tried again, and when a shard is handed back because everything fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.core.retry import CircuitBreaker, Failures, HandBack, RetryPolicy, TryAgain, after_trial, cool_down

TRANSIENT, PERMANENT, CRASH = 1, 2, 4


def test_pauses_double_up_to_the_longest() -> None:
    policy = RetryPolicy(most=10, base=0.5, longest=4.0)
    assert [policy.pause(tries, 0.0, random=0.5) for tries in (1, 2, 3, 4, 9)] == [0.5, 1.0, 2.0, 2.0, 2.0]


def test_pauses_are_spread_from_nothing_to_all_of_it() -> None:
    assert RetryPolicy().pause(1, 0.0, random=0.0) == 0.0


def test_what_a_source_asked_for_is_waited_in_full() -> None:
    assert RetryPolicy().pause(1, 7.0, random=0.0) == 7.0


@pytest.mark.parametrize(("tries", "again"), [(1, True), (3, True), (4, False), (5, False)])
def test_tries_are_bounded(tries: int, again: bool) -> None:
    assert (RetryPolicy(most=4).pause(tries, 0.0, random=0.0) is not None) is again


def fail(failures: Failures, ordinal: int, error_class: int) -> TryAgain | HandBack | None:
    return failures.failed(ordinal, error_class, transient=error_class == TRANSIENT, retry_after=0.0, random=0.5)


def test_each_class_has_a_budget_of_its_own_for_each_document() -> None:
    failures = Failures({TRANSIENT: RetryPolicy(most=2, base=1.0), CRASH: RetryPolicy(most=2, base=0.0)}, cool_downs=0)
    failures.succeeded()
    assert fail(failures, 7, TRANSIENT) == TryAgain(1.0)
    assert fail(failures, 7, CRASH) == TryAgain(0.0)
    assert fail(failures, 8, TRANSIENT) == TryAgain(1.0)
    assert fail(failures, 7, TRANSIENT) is None
    assert fail(failures, 7, CRASH) is None
    assert fail(failures, 9, PERMANENT) is None


def test_tries_are_counted_by_document_whatever_the_class() -> None:
    failures = Failures({TRANSIENT: RetryPolicy(), CRASH: RetryPolicy()}, cool_downs=0)
    assert failures.tries(7) == 1
    fail(failures, 7, TRANSIENT)
    fail(failures, 7, CRASH)
    assert (failures.tries(7), failures.tries(8)) == (3, 1)


def test_documents_that_all_fail_transiently_send_their_shard_back() -> None:
    failures = Failures({TRANSIENT: RetryPolicy()}, cool_downs=1)
    failures.succeeded()
    assert all(isinstance(fail(failures, ordinal, TRANSIENT), TryAgain) for ordinal in range(7))
    assert fail(failures, 8, TRANSIENT) == HandBack(30.0)


def test_a_lone_document_sends_its_shard_back_unless_another_succeeded() -> None:
    policies = {TRANSIENT: RetryPolicy(most=1)}
    assert fail(Failures(policies, cool_downs=0), 0, TRANSIENT) == HandBack(15.0)
    assert fail(Failures(policies, cool_downs=5), 0, TRANSIENT) is None
    beside = Failures(policies, cool_downs=0)
    beside.succeeded()
    assert fail(beside, 0, TRANSIENT) is None


def test_successes_are_told_while_something_failed() -> None:
    failures = Failures({TRANSIENT: RetryPolicy(most=100)}, cool_downs=0)
    attentive = [failures.attentive]
    failures.succeeded()
    attentive.append(failures.attentive)
    for ordinal in range(7):
        fail(failures, ordinal, TRANSIENT)
    assert [*attentive, failures.attentive] == [True, False, True]
    for _ in range(3):
        failures.succeeded()
    assert isinstance(fail(failures, 7, TRANSIENT), TryAgain)


def test_a_few_transient_failures_leave_the_breaker_closed() -> None:
    breaker = CircuitBreaker(seen=10, bad=8)
    for _ in range(7):
        breaker.note(transient=True)
    assert not breaker.open
    breaker.note(transient=True)
    assert breaker.open


def test_the_breaker_closes_with_what_succeeds() -> None:
    breaker = CircuitBreaker(seen=10, bad=8)
    for _ in range(10):
        breaker.note(transient=True)
    for _ in range(3):
        breaker.note(transient=False)
    assert not breaker.open


def test_cool_downs_take_longer_each_time_but_not_for_ever() -> None:
    pauses = [cool_down(before) for before in range(20)]
    assert pauses[:3] == [15.0, 30.0, 45.0]
    assert pauses[-1] == 300.0
    assert cool_down(20) is None


def test_few_documents_that_fail_alone_are_waited_for_less_often() -> None:
    assert [cool_down(before, lone=True) for before in (0, 4, 5)] == [15.0, 75.0, None]


def test_after_a_trial_that_is_to_be_repeated_its_shard_goes_back_for_the_longer_pause() -> None:
    assert after_trial(2, 0.0) == 0.0
    assert after_trial(2, 0.5) == 45.0
    assert after_trial(2, 330.0) == 330.0
    assert after_trial(20, 330.0) == 0.0


@given(st.integers(1, 12), st.integers(0, 14), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_what_was_asked_for_and_a_share_of_a_bounded_rest(most: int, tries: int, asked: float, random: float) -> None:
    policy = RetryPolicy(most=most)
    pause = policy.pause(tries, asked, random)
    if tries >= most:
        assert pause is None
        return
    assert pause is not None
    assert asked <= pause <= asked + min(policy.longest, policy.base * 2**tries)
    if tries + 1 < most:
        later = policy.pause(tries + 1, asked, random)
        assert later is not None
        assert later >= pause


@given(st.integers(1, 12), st.floats(0, 1, exclude_max=True))
def test_every_document_comes_to_an_end_by_its_own_tries(most: int, random: float) -> None:
    tries = 1
    while RetryPolicy(most=most).pause(tries, 0.0, random) is not None:
        tries += 1
    assert tries == most


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 12), st.integers(1, 12))
def test_a_breaker_is_open_for_that_of_the_last_outcomes(outcomes: list[bool], seen: int, bad: int) -> None:
    breaker = CircuitBreaker(seen=seen, bad=bad)
    for transient in outcomes:
        breaker.note(transient=transient)
    assert breaker.open == (sum(outcomes[-seen:]) >= bad)


@given(st.integers(0, 100))
def test_cool_downs_grow_to_a_bound_and_stop(before: int) -> None:
    pause, after = cool_down(before), cool_down(before + 1)
    assert (pause is None) == (before >= 20)
    assert pause is None or (0 < pause <= 300 and (after is None or after >= pause))
