"""Which losses are one event and nobody's fault."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.mass_loss import WINDOW_SECONDS, is_mass_loss


def test_three_of_six_at_once_are_the_fleets_loss() -> None:
    for apart in ([0, 0.3, 1.9], [-0.3, 0, 1.6], [-1.9, -1.6, 0]):
        assert is_mass_loss(apart, live=3)


def test_two_or_a_small_part_or_one_after_another_are_not() -> None:
    assert not is_mass_loss([0, 0], live=0)
    assert not is_mass_loss([], live=1)
    assert not is_mass_loss([0, 0.1, 0.2], live=6)
    assert is_mass_loss([0, 0.1, 0.2], live=5)
    for place in range(4):
        assert not is_mass_loss([1.1 * (other - place) for other in range(4) if abs(1.1 * (other - place)) <= 2], live=0)


@given(st.lists(st.integers(0, 512), min_size=1, max_size=20), st.integers(0, 8))
def test_what_is_excused_fell_into_one_window_with_more_than_a_third_of_the_fleet(parts: list[int], live: int) -> None:
    """In parts of a second whose sums are exact."""
    window = int(WINDOW_SECONDS * 128)
    for at in parts:
        apart = [(other - at) / 128 for other in parts if abs(other - at) <= window]
        starts = {other for other in parts if at - window <= other <= at}
        most = max(sum(start <= other <= start + window for other in parts) for start in starts)
        assert is_mass_loss(apart, live) == (most >= 3 and most * 3 > len(apart) + live)
