"""What is stored of the stages that a document passed, whatever a worker says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.stages import (
    MOST_BYTES,
    MOST_BYTES_UNDER_WAY,
    MOST_COUNTED,
    MOST_COUNTS,
    MOST_DOCUMENTS,
    MOST_LETTERS,
    MOST_STAGES,
    Stage,
    UnderWay,
    restored,
    restored_under_way,
    stored,
    stored_under_way,
)
from doctrain_mesh.stages import MOST_UNREAD_LETTERS

LONGEST_STAGE = 12 * MOST_LETTERS * (1 + MOST_COUNTS) + 1_000
INTS = st.integers(-(2**31), 2**31 - 1)
STAGES = st.builds(
    Stage,
    st.text(max_size=80),
    INTS,
    INTS,
    st.dictionaries(st.text(max_size=80), st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.text(max_size=400),
)


def test_stages_come_back_as_they_were() -> None:
    stages = [Stage("fetch", 0, 12, {"bytes": 4_000}), Stage("extract", 12, 900, {"pages": 40}, "a.pdf: ENCRYPTED")]
    assert list(restored(stored(stages))) == stages
    assert list(restored(None)) == []


def test_what_no_database_could_count_is_mended() -> None:
    said = [Stage("fe\0tch\n", 0, 1, {"by\0tes": -(2**63), "pages": 2**63 - 1})]
    assert list(restored(stored(said))) == [Stage("fe\ufffdtch\ufffd", 0, 1, {"by\ufffdtes": 0, "pages": MOST_COUNTED})]


@given(st.lists(STAGES, max_size=40))
def test_any_stages_are_stored_within_bounds_as_text_that_postgres_takes(stages: list[Stage]) -> None:
    text = stored(stages)
    assert text.isascii()
    found = list(restored(text))
    assert len(text) <= MOST_BYTES
    assert len(found) <= min(len(stages), MOST_STAGES)
    assert len(found) == len(stages) or len(found) == MOST_STAGES or len(text) + LONGEST_STAGE > MOST_BYTES
    for stage in found:
        assert min(stage.start_ms, stage.took_ms) >= 0
        assert len(stage.counts) <= MOST_COUNTS
        assert all(len(name) <= MOST_LETTERS and name.isprintable() for name in (stage.name, *stage.counts))
        assert all(0 <= count <= MOST_COUNTED for count in stage.counts.values())
        assert len(stage.unread) <= MOST_UNREAD_LETTERS
        assert stage.unread.isprintable()
    assert stored(found) == text


class Watched(Mapping[str, int]):
    """Counts that tell how many of them were looked at."""

    def __init__(self, size: int) -> None:
        self._size, self.looked_at = size, 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        for number in range(self._size):
            self.looked_at += 1
            yield f"count {number:06}"

    def __getitem__(self, name: str) -> int:
        return int(name.removeprefix("count "))


def test_counts_that_are_dropped_are_not_looked_at() -> None:
    counts = Watched(100_000)
    (found,) = restored(stored([Stage("x", 0, 0, counts)]))
    assert len(found.counts) == MOST_COUNTS
    assert counts.looked_at <= MOST_COUNTS + 1


def test_what_is_too_much_of_many_documents_leaves_the_last_out() -> None:
    stages = stored([Stage(f"{n:02}" + chr(0x2603) * 62, 5, 900, {"pages": 4}) for n in range(MOST_STAGES)])
    assert 1 < len(list(restored(stages))) < MOST_STAGES
    told = stored_under_way((ordinal, 0, stages) for ordinal in range(MOST_DOCUMENTS))
    assert told is not None
    assert len(told) <= MOST_BYTES_UNDER_WAY
    assert 0 < len(restored_under_way(f"[[{list(range(100))},{told}]]")) < MOST_DOCUMENTS


def test_of_what_is_told_of_long_documents_those_count_that_still_run() -> None:
    stages = [Stage("ocr", 5, 900, {"pages": 4})]
    told = stored_under_way([(7, 1_000, stored(stages)), (8, 2_000, stored([]))])
    assert restored_under_way(f"[[[3,7],{told}],[[8],{told}]]") == {7: UnderWay(1_000, stages), 8: UnderWay(2_000, [])}
    assert restored_under_way(f"[[[],{told}]]") == restored_under_way(None) == {}
    assert stored_under_way([]) is None
    many = stored_under_way((ordinal, 0, stored([])) for ordinal in range(100))
    assert len(restored_under_way(f"[[{list(range(100))},{many}]]")) == MOST_DOCUMENTS
