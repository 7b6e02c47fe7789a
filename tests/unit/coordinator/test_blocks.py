"""Results are judged before they reach a transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.blocks import DAY_MS, MOST_TRIES, Block, Failure, Mended, halves, mended, without_results

NOW_MS = 1_790_000_000_000
SOUND = Block(10, NOW_MS, [0, -1, 7], [1, -1, 2], [Failure(12, 1, "ENCRYPTED", "It is encrypted.")], [13], [(12, 2)], [(10, "[]")], [10])


def mend(block: Block) -> Mended:
    return mended(block, 10, 5, now_ms=NOW_MS + 3_000)


def test_a_sound_block_stays_as_it_is() -> None:
    assert mend(SOUND) == Mended(SOUND)
    assert SOUND.reported() == [10, 12]


@pytest.mark.parametrize(
    ("wrong", "invalid", "foreign", "codes"),
    [
        (replace(SOUND, took=[1]), [12], False, {12: "UNRECORDABLE"}),
        (replace(SOUND, took=[]), [10, 12], False, {10: "UNRECORDABLE", 12: "UNRECORDABLE"}),
        (replace(SOUND, first=9), [12], True, {12: "UNRECORDABLE"}),
        (replace(SOUND, started=[0] * 6, took=[0] * 6), [], True, {12: "ENCRYPTED"}),
        (replace(SOUND, failed=[Failure(11, 1, "", "")]), [11], False, {11: "UNRECORDABLE"}),
        (replace(SOUND, failed=[Failure(9, 1, "", "")]), [], True, {}),
        (replace(SOUND, failed=[Failure(12, 40_000, "", "")]), [12], False, {12: "UNRECORDABLE"}),
        (replace(SOUND, failed=[Failure(12, -1, "", "")]), [12], False, {12: "UNRECORDABLE"}),
        (replace(SOUND, running=[15]), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, running=[13, 13]), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, failed=[Failure(12, 1, "ENCRYPTED", "")] * 1000), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, tries=[(12, 2)] * 1000), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, tries=[(13, 2)]), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, passed=[(10, "[]")] * 1000), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, passed=[(13, "[]")]), [], False, {12: "ENCRYPTED"}),
        (replace(SOUND, unchanged=[13]), [], False, {12: "ENCRYPTED"}),
    ],
)
def test_what_is_of_the_shard_is_kept_and_what_is_unsound_fails(
    wrong: Block, invalid: list[int], foreign: bool, codes: dict[int, str]
) -> None:
    found = mend(wrong)
    assert (list(found.invalid), found.foreign) == (invalid, foreign)
    assert found.faults
    assert {failure.ordinal: failure.code for failure in found.block.failed} == codes
    own = {o for o in {*wrong.reported(), *(f.ordinal for f in wrong.failed)} if 10 <= o < 15}
    assert set(found.block.reported()) == own
    assert mend(found.block) == Mended(found.block), "once is enough"


@pytest.mark.parametrize("base_ms", [-1, 5_000, 0, NOW_MS - 2 * 86_400_000, NOW_MS + 2 * 86_400_000, 2**62, -(2**62)])
def test_a_wrong_clock_costs_no_result(base_ms: int) -> None:
    found = mend(replace(SOUND, base_ms=base_ms))
    assert found.block == replace(SOUND, base_ms=NOW_MS + 3_000 - 9), "what ended last ended just now"
    assert (found.invalid, found.foreign) == ((), False)
    assert mend(found.block) == Mended(found.block)


LARGEST, SMALLEST = 2**31 - 1, -(2**31)


@pytest.mark.parametrize(
    ("wrong", "bounded"),
    [
        (replace(SOUND, took=[SMALLEST, -1, 2]), replace(SOUND, took=[0, -1, 2])),
        (replace(SOUND, took=[1, -1, LARGEST]), replace(SOUND, took=[1, -1, 2_993])),
        (replace(SOUND, started=[0, -1, LARGEST]), replace(SOUND, started=[0, -1, 3_000], took=[1, -1, 0])),
        (replace(SOUND, started=[LARGEST, -1, 7], took=[LARGEST, -1, -5]), replace(SOUND, started=[3_000, -1, 7], took=[0, -1, 0])),
        (replace(SOUND, tries=[(10, SMALLEST), (12, LARGEST)]), replace(SOUND, tries=[(10, 1), (12, MOST_TRIES)])),
        (replace(SOUND, tries=[(12, 0)]), replace(SOUND, tries=[(12, 1)])),
        (
            replace(SOUND, under_way=[(13, LARGEST, "[]"), (14, SMALLEST, "[]"), (11, 7, "[]")]),
            replace(SOUND, under_way=[(13, 3_000, "[]"), (14, 0, "[]"), (11, 7, "[]")]),
        ),
    ],
)
def test_a_number_that_cannot_be_is_replaced_by_one_that_can(wrong: Block, bounded: Block) -> None:
    found = mend(wrong)
    assert found.block == bounded
    assert (found.invalid, found.foreign, len(found.faults)) == ((), False, 1)
    assert mend(found.block) == Mended(found.block)


@pytest.mark.parametrize(
    "sound",
    [
        replace(SOUND, started=[DAY_MS - 1_000, -1, 7]),  # the worker's clock is ahead
        replace(SOUND, started=[SMALLEST, -1, 7], took=[SMALLEST, LARGEST, 2]),  # no results, and so no numbers
        replace(SOUND, base_ms=NOW_MS - DAY_MS + 5_000, started=[DAY_MS // 2, -1, 7], took=[DAY_MS // 2, -1, DAY_MS]),
        replace(SOUND, tries=[(10, 1), (12, MOST_TRIES)], under_way=[(13, 0, "[]")]),
    ],
)
def test_a_number_that_may_be_stays_as_it_is(sound: Block) -> None:
    sound = replace(sound, failed=[], unchanged=[])
    assert mend(sound) == Mended(sound)


NUMBERS = st.integers(SMALLEST, LARGEST)
FAILURES = st.builds(Failure, st.one_of(NUMBERS, st.integers(8, 16)), st.integers(-1, 40_000), st.just("C"), st.just("M"))
BLOCKS = st.builds(
    Block,
    st.one_of(NUMBERS, st.integers(5, 16)),
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.one_of(st.integers(-1, 9), NUMBERS), max_size=8),
    st.lists(NUMBERS, max_size=8),
    st.lists(FAILURES, max_size=3),
    st.lists(st.integers(8, 16), max_size=3),
    st.lists(st.tuples(st.integers(8, 16), NUMBERS), max_size=3),
    st.lists(st.tuples(st.integers(8, 16), st.just("[]")), max_size=3),
    st.lists(st.integers(8, 16), max_size=3),
    st.none() | st.lists(st.tuples(st.integers(8, 16), NUMBERS, st.just("[]")), max_size=3),
)


@given(BLOCKS)
def test_whatever_a_worker_says_becomes_results_of_the_shard(block: Block) -> None:
    found = mend(block).block
    assert len(found.started) == len(found.took)
    assert all(10 <= o < 15 for o in found.reported())
    assert {o for o in block.reported() if 10 <= o < 15} <= set(found.reported())
    assert {f.ordinal for f in found.failed} <= set(found.reported())
    tried = [(at, took) for at, took in zip(found.started, found.took, strict=True) if at >= 0]
    assert all(took >= 0 and found.base_ms + at + took < NOW_MS + 3_000 + DAY_MS for at, took in tried)
    assert all(1 <= tries <= MOST_TRIES for _, tries in found.tries)
    assert mend(found) == Mended(found)


@given(BLOCKS)
def test_halves_hold_every_result_once(block: Block) -> None:
    block = mend(block).block
    if len(block.reported()) < 2:
        return
    left, right = halves(block)
    assert left.reported()
    assert right.reported()
    assert left.reported() + right.reported() == block.reported()
    assert sorted([*left.failed, *right.failed], key=repr) == sorted(block.failed, key=repr)
    assert mend(left) == Mended(left)
    assert mend(right) == Mended(right)


@given(st.sets(st.sampled_from([10, 12])))
def test_results_turn_into_failures_and_the_others_stay(ordinals: set[int]) -> None:
    block = without_results(SOUND, ordinals)
    assert block.reported() == SOUND.reported()
    failed = {failure.ordinal: failure.code for failure in block.failed}
    assert failed == {12: "ENCRYPTED"} | dict.fromkeys(ordinals, "UNRECORDABLE")
    assert not {*(ordinal for ordinal, _ in (*block.tries, *block.passed)), *block.unchanged} & ordinals
    assert mend(block) == Mended(block)
