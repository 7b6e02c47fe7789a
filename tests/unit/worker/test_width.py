"""A hold's width as the tracker changes it: the newest change counts, and is in force once it holds for what runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.core.width import Width


def test_a_change_holds_for_what_starts_and_is_in_force_once_it_holds_for_what_runs() -> None:
    width = Width(5, 0)
    assert width.change(2, 1)
    assert (width.now, width.in_force) == (2, 0)
    width.settled()
    assert (width.now, width.in_force) == (2, 1)


def test_one_that_is_heard_again_is_no_news() -> None:
    width = Width(5, 3)
    assert not width.change(1, 3)
    assert width.change(1, 4)
    assert not width.change(1, 4)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), unique_by=lambda change: change[1]))
def test_in_whatever_order_they_come_the_newest_counts(changes: list[tuple[int, int]]) -> None:
    width = Width(5, 0)
    for change in changes:
        width.change(*change)
        width.settled()
    newest = max(changes, key=lambda change: change[1], default=(5, 0))
    assert (width.now, width.in_force) == newest
