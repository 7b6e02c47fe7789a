"""Words are the same however they are written, in every script, and a query finds what the index holds."""

from __future__ import annotations

import tracemalloc
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from doctrain_mesh.words import LONGEST_WORD, condition, placed, queried, words

# Letters of many scripts, signs, and what is not seen.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("東京都에서ｶﾞバﾊﾞสวัสดีทำالطُّحْلُبßİﬁ½٢\u0301\u00ad\u200d ,-_'"),
    ),
    max_size=60,
)
LONG_TEXTS = st.builds(str.__mul__, TEXTS, st.integers(1, 40))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Café CAFÉ cafe\u0301", {"cafe"}),
        ("ﬁnd Straße İstanbul Łódź", {"find", "strasse", "istanbul", "łodz"}),
        ("don't snake_case 1,234.5 Foo™", {"don", "t", "snake", "case", "1", "234", "5", "foo"}),
        ("Donau\u00addampf\u200bschiff", {"donaudampfschiff"}),
        ("٢٠٢٤ \uff12\uff10\uff12\uff14", {"2024"}),
        ("الطُّحْلُب أحمد آخر كتـــاب", {"الطحلب", "احمد", "اخر", "كتاب"}),
        ("हिन्दी में", {"हिन्दी", "में"}),
        ("東京都", {"東京", "京都", "都"}),
        ("水", {"水"}),
        ("iPhone手机", {"iphone", "手机", "机"}),
        ("ﾊﾞﾝｸﾞ", {"バン", "ング", "グ"}),
        ("서울에서", {"서울", "울에", "에서", "서"}),
        ("x" * 100, {"x" * LONGEST_WORD}),
        ("?! 🦆 … ---", set()),
    ],
)
def test_words_of_a_text(text: str, found: set[str]) -> None:
    assert words(text) == found


@given(LONG_TEXTS)
@example("İ" + "\u0301" * (4 * LONGEST_WORD - 2) + "x")
def test_the_placed_words_are_all_words_and_stand_where_they_say(text: str) -> None:
    found = list(placed(text))
    assert {word.word for word in found} == words(text)
    assert all(0 <= word.start < word.end <= len(text) for word in found)
    assert [word.start for word in found] == sorted(word.start for word in found)


@given(LONG_TEXTS)
def test_what_a_text_says_is_found_by_it_and_by_it_in_capitals(text: str) -> None:
    assert set(queried(text)) <= words(text)
    assert bool(queried(text)) == bool(words(text))
    assert words(text.upper().lower()) == words(text.upper())


@given(TEXTS)
def test_a_condition_holds_no_sign_that_means_something(text: str) -> None:
    for word in words(text):
        quoted = condition(7, word).removesuffix(":*")
        assert quoted == f"'7 {word}'"
        assert not set(word) & set("'\\&|!():* ")


def test_a_query_of_several_characters_does_not_look_for_the_last_alone() -> None:
    assert queried("東京都 水 東京") == ["東京", "京都", "水"]
    assert [condition(1, word) for word in queried("水 duck")] == ["'1 水':*", "'1 duck'"]


@pytest.fixture
def normalized(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is put into a normal form, which takes by far the longest."""
    seen: list[str] = []
    normalize = unicodedata.normalize

    def noted(form: str, text: str) -> str:
        seen.append(text)
        return normalize(form, text)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(unicodedata, "normalize", noted)
        yield seen


@pytest.mark.parametrize(
    "run",
    ["\ufdfa" * 4096, "a" + "\u0315\u0300" * 2047, "İ" * 4096, "é" * 4096],
    ids=["ligatures", "marks", "longer in lower case", "letters"],
)
def test_of_a_long_run_only_the_beginning_is_looked_at(run: str, normalized: list[str]) -> None:
    assert {word.word for word in placed(run)} == words(run) == set(queried(run))
    assert normalized
    assert max(map(len, normalized)) <= 4 * LONGEST_WORD


def test_a_word_with_many_marks_is_found_without_them() -> None:
    pointed = "".join(f"{letter}\u0301\u0323\u0330" for letter in "abcdefgh" * 8)
    assert words(pointed) == words("abcdefgh" * 8)


def test_the_first_words_of_a_query_are_found_without_a_look_at_the_others(normalized: list[str]) -> None:
    query = " ".join(f"requête{number}" for number in range(1000))
    first = queried(query, 32)
    assert len(normalized) <= 2 * 33
    assert first == queried(query)[:32]


def test_nothing_is_kept_of_long_runs() -> None:
    words("\ufdfa")
    tracemalloc.start()
    try:
        for number in range(40):
            queried("\ufdfa" * 1350 + str(number))
            words("é" * 5000 + str(number))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 17
