"""When a batch goes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_mesh.pacing import Pace, Pacer

PACE = Pace(gap=0.005, patience=0.010, enough=64, credit=4)


def test_who_waits_alone_is_served_at_once_four_times_in_a_row() -> None:
    pacer = Pacer(PACE)
    for _ in range(4):
        assert pacer.wait(1.0, waiting=1, oldest=1.0, urgent=True) == 0
        pacer.started(1.0)
    assert pacer.wait(1.0, waiting=1, oldest=1.0, urgent=True) > 0


def test_results_wait_until_they_are_many_or_old() -> None:
    pacer = Pacer(PACE)
    pacer.started(0.0)
    assert pacer.wait(1.0, waiting=1, oldest=1.0, urgent=False) == pytest.approx(0.010)
    assert pacer.wait(1.0, waiting=64, oldest=1.0, urgent=False) == 0
    assert pacer.wait(1.011, waiting=1, oldest=1.0, urgent=False) == 0


@given(st.lists(st.tuples(st.floats(0, 0.02), st.integers(1, 200), st.booleans()), max_size=200))
def test_no_wait_is_long_and_commits_are_apart(steps: list[tuple[float, int, bool]]) -> None:
    pacer, now, starts = Pacer(PACE), 0.0, []
    for pause, waiting, urgent in steps:
        now += pause
        wait = pacer.wait(now, waiting=waiting, oldest=now, urgent=urgent)
        assert 0 <= wait <= PACE.gap + PACE.patience
        if wait == 0:
            pacer.started(now)
            starts.append(now)
    for earlier, later in zip(starts, starts[PACE.credit + 1 :], strict=False):
        assert later - earlier >= PACE.gap * 0.999
