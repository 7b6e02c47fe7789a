"""What is stored of the stages that a document passed, whatever a worker says of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.stages import MOST_COUNTS, MOST_LETTERS, MOST_STAGES, Stage, restored, stored

INTS = st.integers(-(2**31), 2**31 - 1)
STAGES = st.builds(Stage, st.text(max_size=80), INTS, INTS, st.dictionaries(st.text(max_size=80), st.integers(0, 2**63 - 1), max_size=20))


def test_stages_come_back_as_they_were() -> None:
    stages = [Stage("fetch", 0, 12, {"bytes": 4_000}), Stage("extract", 12, 900, {"pages": 40})]
    assert list(restored(stored(stages))) == stages
    assert list(restored(None)) == []


@given(st.lists(STAGES, max_size=40))
def test_any_stages_are_stored_within_bounds_as_text_that_postgres_takes(stages: list[Stage]) -> None:
    text = stored(stages)
    assert text.isascii()
    assert "\x00" not in text
    found = list(restored(text))
    assert len(found) == min(len(stages), MOST_STAGES)
    for stage in found:
        assert min(stage.start_ms, stage.took_ms) >= 0
        assert len(stage.counts) <= MOST_COUNTS
        assert all(len(name) <= MOST_LETTERS for name in (stage.name, *stage.counts))
    assert stored(found) == text
