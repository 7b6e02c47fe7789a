"""A snippet shows why a passage was found, in one line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.snippets import CUT, LONGEST, snippet
from doctrain_mesh.words import Placed, placed, queried

FILLER = "Nothing of this is of interest to anybody at all. "


def shown(text: str, query: str) -> tuple[str, list[str]]:
    made = snippet(text, queried(query))
    return made.text, [made.text[start:end] for start, end in made.matches]


def test_a_short_passage_is_shown_whole_in_one_line_with_its_words() -> None:
    assert shown("# Bread\n\nA  starter\tis flour and water.", "Water, FLOUR!") == (
        "Bread: A starter is flour and water.",
        ["flour", "water"],
    )
    assert shown("A starter.", "nothing") == ("A starter.", [])


def test_signs_of_headings_and_tables_are_left_out() -> None:
    assert shown("# Hello world\n", "world") == ("Hello world", ["world"])
    assert shown("Ducks swim.\n\n## Geese: ", "geese")[0] == "Ducks swim. Geese"
    table = "## When\n\n| Month | Work |\n|---|:--:|\n| May | #1 swarms | |\n"
    assert shown(table, "swarms") == ("When: Month, Work; May, #1 swarms;", ["swarms"])
    assert shown("Swarms\n======\nIn May\n\nWhen\n----\nEarly", "may")[0] == "Swarms In May When Early"


def test_a_long_passage_is_cut_around_most_of_the_words() -> None:
    text, found = shown(f"The duck. {FILLER * 20}The duck sees the astrolabe. {FILLER * 20}", "the duck astrolabe")
    assert "The duck sees the astrolabe." in text
    assert text.startswith(CUT)
    assert text.endswith(CUT)
    assert "astrolabe" in found


def test_a_long_passage_without_the_words_is_shown_from_its_beginning() -> None:
    text, found = shown(FILLER * 20, "astrolabe")
    assert text.startswith("Nothing of this")
    assert (text[-1], found) == (CUT, [])


def test_pairs_of_characters_that_meet_are_one_match_and_a_single_one_is_found_within_words() -> None:
    assert shown("我们住在东京都的水边。", "东京都")[1] == ["东京都"]
    assert shown("我们住在水边的水。", "水")[1] == ["水边", "水"]
    assert "东京都" in shown("我们在这里" * 100 + "住在东京都" + "我们在这里" * 100, "东京都")[0]


@given(st.text(max_size=2000), st.text(max_size=20))
def test_a_snippet_is_short_and_its_matches_are_in_it_and_apart(text: str, query: str) -> None:
    made = snippet(text, queried(query))
    assert len(made.text) <= LONGEST + 2 * len(CUT)
    ends = [place for match in made.matches for place in match]
    assert ends == sorted(ends)
    assert all(0 <= start < end <= len(made.text) for start, end in made.matches)


SURELY_SHOWN = LONGEST - 84
"""Characters from the first word on, wherever the cuts fall."""


@given(st.lists(st.sampled_from(["a", "duck", "astrolabe", "sees", "nothing", "of-this is of interest"]), max_size=300))
def test_no_other_part_says_more_than_the_one_shown(parts: list[str]) -> None:
    text, wanted = " ".join(parts), ["a", "duck", "astrolabe", "sees"]
    found = [word for word in placed(text) if word.word in wanted]
    near = ({word.word for word in found[place:] if word.end <= first.start + SURELY_SHOWN} for place, first in enumerate(found))
    made = snippet(text, wanted)
    assert says({made.text[start:end] for start, end in made.matches}) >= max(map(says, near), default=0)


def says(words: set[str]) -> int:
    return sum(min(len(word), 8) for word in words)


def test_the_work_for_a_passage_grows_as_the_words_found_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Counted(Placed):
        def __getattribute__(self, name: str) -> object:
            nonlocal looks
            looks += name == "end"
            return super().__getattribute__(name)

    def counted(line: str) -> Iterator[Placed]:
        yield from (Counted(*word) for word in placed(line))

    monkeypatch.setattr("doctrain_coordinator.core.snippets.placed", counted)
    of_count = {}
    for count in (200, 800):
        looks = 0
        snippet("x€" * count, {"x"})
        of_count[count] = looks
    assert of_count[800] < 6 * of_count[200]
