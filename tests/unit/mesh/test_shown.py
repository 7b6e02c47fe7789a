"""What others wrote, made fit to be shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_mesh import shown


@pytest.mark.parametrize("said", ["ENCRYPTED", "TOO_LARGE", "V2_404", "X" * 64])
def test_a_constant_is_a_code(said: str) -> None:
    assert shown.code(said) == said


@pytest.mark.parametrize("said", ["", "encrypted", "NO WORD", "X\n2026", "X\n", "X\x00", "_X", "4X", "É", "X" * 65])
def test_what_is_none_is_told_as_other(said: str) -> None:
    assert shown.code(said) == "OTHER"


def test_a_sentence_is_one_line_that_keeps_its_words() -> None:
    said = "It is encrypted;\r\n\tremove the password of \u201cGr\u00f6\u00dfe \u6771\u4eac \U0001f986\u201d.\x1b[2J\x00\n"
    assert (
        shown.sentence(said, 2000)
        == "It is encrypted; remove the password of \u201cGr\u00f6\u00dfe \u6771\u4eac \U0001f986\u201d.\ufffd[2J\ufffd"
    )


@given(st.text())
def test_any_text_can_be_shown_afterwards(said: str) -> None:
    assert re.fullmatch("[A-Z][A-Z0-9_]{0,63}", shown.code(said))
    for fit in (shown.sentence(said, 10), shown.printable(said), shown.escaped(said)):
        assert fit.isprintable()
    assert len(shown.sentence(said, 10)) <= 10
    assert shown.sentence(shown.sentence(said, 10), 10) == shown.sentence(said, 10)
