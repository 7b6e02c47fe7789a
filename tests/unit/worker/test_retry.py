"""When a failure is tried again, and when a shard is handed back because everything fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.core.retry import RetryPolicy, Weather, storm_pause


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
def test_weather_is_that_of_the_last_outcomes(outcomes: list[bool], seen: int, bad: int) -> None:
    weather = Weather(seen=seen, bad=bad)
    for transient in outcomes:
        weather.note(transient=transient)
    assert weather.stormy == (sum(outcomes[-seen:]) >= bad)
    assert weather.noted == bool(outcomes)


@given(st.integers(1, 100))
def test_storms_grow_to_a_bound_and_stop(number: int) -> None:
    pause, after = storm_pause(number), storm_pause(number + 1)
    assert (pause is None) == (number > 20)
    assert pause is None or (0 < pause <= 300 and (after is None or after >= pause))
