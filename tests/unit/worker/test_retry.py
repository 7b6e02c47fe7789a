"""When a failure is tried again, and when a shard is handed back because everything fails."""

from __future__ import annotations

import pytest

from doctrain_worker.core.retry import Retries, RetryPolicy, Weather, storm_pause


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


def test_each_class_has_a_budget_of_its_own_for_each_document() -> None:
    retries = Retries({1: RetryPolicy(most=2, base=1.0), 4: RetryPolicy(most=2, base=0.0)})
    assert retries.pause(7, 1, 0.0, random=0.5) == 1.0
    assert retries.pause(7, 4, 0.0, random=0.5) == 0.0
    assert retries.pause(8, 1, 0.0, random=0.5) == 1.0
    assert retries.pause(7, 1, 0.0, random=0.5) is None
    assert retries.pause(7, 4, 0.0, random=0.5) is None
    assert retries.pause(9, 2, 0.0, random=0.5) is None


def test_a_few_transient_failures_are_no_storm() -> None:
    weather = Weather(seen=10, bad=8)
    for _ in range(7):
        weather.note(transient=True)
    assert not weather.stormy
    weather.note(transient=True)
    assert weather.stormy


def test_a_storm_passes_with_what_succeeds() -> None:
    weather = Weather(seen=10, bad=8)
    for _ in range(10):
        weather.note(transient=True)
    for _ in range(3):
        weather.note(transient=False)
    assert not weather.stormy


def test_storms_are_waited_out_longer_each_time_but_not_for_ever() -> None:
    pauses = [storm_pause(number) for number in range(1, 21)]
    assert pauses[:3] == [15.0, 30.0, 45.0]
    assert pauses[-1] == 300.0
    assert storm_pause(21) is None


def test_few_documents_that_fail_alone_are_waited_for_less_often() -> None:
    assert [storm_pause(number, lone=True) for number in (1, 5, 6)] == [15.0, 75.0, None]
