"""Results are judged before they reach a transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.blocks import MAX_ERROR_LENGTH, Block, Failure, clean, fault, without_results

NOW_MS = 1_790_000_000_000
SOUND = Block(10, NOW_MS, [0, -1, 7], [1, -1, 2], [Failure(12, 1, "ENCRYPTED", "It is encrypted.")], [13], [(12, 2)])


def test_a_sound_block_has_no_fault() -> None:
    assert fault(SOUND, 10, 5) is None
    assert SOUND.reported() == [10, 12]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SOUND, took=[1]),
        replace(SOUND, first=9),
        replace(SOUND, started=[0] * 6, took=[0] * 6),
        replace(SOUND, base_ms=-1),
        replace(SOUND, base_ms=2**62),
        replace(SOUND, failed=[Failure(11, 1, "", "")]),
        replace(SOUND, failed=[Failure(9, 1, "", "")]),
        replace(SOUND, failed=[Failure(12, 40_000, "", "")]),
        replace(SOUND, failed=[Failure(12, -1, "", "")]),
        replace(SOUND, running=[15]),
        replace(SOUND, tries=[(13, 2)]),
    ],
)
def test_what_cannot_be_of_that_shard_is_refused(wrong: Block) -> None:
    assert fault(wrong, 10, 5) is not None


@given(st.text())
def test_any_text_becomes_one_that_postgres_takes(text: str) -> None:
    assert "\x00" not in clean(text)
    assert len(clean(text)) <= MAX_ERROR_LENGTH


@given(st.sets(st.sampled_from([10, 12])))
def test_results_turn_into_failures_and_the_others_stay(ordinals: set[int]) -> None:
    block = without_results(SOUND, ordinals)
    assert block.reported() == SOUND.reported()
    failed = {failure.ordinal: failure.code for failure in block.failed}
    assert failed == {12: "ENCRYPTED"} | dict.fromkeys(ordinals, "UNRECORDABLE")
    assert not {ordinal for ordinal, _ in block.tries} & ordinals
    assert fault(block, 10, 5) is None
