"""How a training is cut: every document once, no shard too large, small ones at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.sharding import LARGEST, LARGEST_OF_MANY, MANY, SMALLEST, cut


@given(st.integers(0, 10_000), st.integers(0, 20_000), st.integers(0, 300_000), st.integers(0, 200))
def test_every_document_is_in_one_shard_and_none_is_too_large(first: int, count: int, expected: int, lanes: int) -> None:
    place = first
    for start, length in cut(first, count, expected=expected, lanes=lanes):
        assert start == place
        assert 1 <= length <= LARGEST_OF_MANY
        place += length
    assert place == first + count


def test_a_small_training_is_one_message() -> None:
    assert list(cut(0, SMALLEST, expected=SMALLEST, lanes=12)) == [(0, SMALLEST)]


def test_shards_shrink_towards_the_end_so_that_all_lanes_end_together() -> None:
    lengths = [length for _, length in cut(0, 5_000, expected=5_000, lanes=12)]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) >= 24
    assert max(lengths) <= LARGEST
    assert sum(lengths[-12:]) <= 5_000 / 4


def test_very_large_trainings_have_larger_shards() -> None:
    first = next(cut(0, 50_000, expected=10 * MANY, lanes=12))
    assert first == (0, LARGEST_OF_MANY)


def test_chunks_of_one_load_are_cut_by_what_the_whole_will_be() -> None:
    whole = list(cut(0, 5_000, expected=5_000, lanes=12))
    part = list(cut(0, 5_000, expected=60_000, lanes=12))
    assert len(part) < len(whole)
