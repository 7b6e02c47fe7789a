"""When a grant that nobody began is published again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.overdue import Overdue


def test_a_new_leader_publishes_all_that_it_finds_once() -> None:
    overdue = Overdue(first=10)
    assert overdue.due(100, [(1, 1), (2, 5)]) == {(1, 1), (2, 5)}
    assert overdue.due(101, [(1, 1), (2, 5)]) == set()


def test_the_intervals_grow_to_a_limit() -> None:
    overdue = Overdue(first=10, growth=2, longest=60)
    overdue.granted(0, 1, 1)
    times = [now for now in range(400) if overdue.due(now, [(1, 1)])]
    assert times == [10, 30, 70, 130, 190, 250, 310, 370]


def test_another_number_is_another_grant() -> None:
    overdue = Overdue(first=10)
    overdue.granted(0, 1, 1)
    overdue.due(5, [])
    overdue.granted(6, 1, 2)
    assert overdue.due(15, [(1, 2)]) == set()
    assert overdue.due(16, [(1, 2)]) == {(1, 2)}


@given(st.lists(st.floats(0.1, 30), min_size=1, max_size=60))
def test_nothing_is_published_twice_within_the_first_interval(pauses: list[float]) -> None:
    overdue, now, last = Overdue(first=10), 0.0, None
    for pause in pauses:
        now += pause
        if overdue.due(now, [(1, 1)]):
            assert last is None or now - last >= 9.999
            last = now
