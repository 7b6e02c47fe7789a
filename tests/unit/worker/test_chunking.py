"""ChunkStore of a text: whole, small enough, and where they say they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.text import markdown
from doctrain_worker.text.blocks import Block, Kind, placed, table
from doctrain_worker.text.chunking import cut, embedded_text, heading_path
from doctrain_worker.text.cutting import LONG_LETTERS, Excerpt

MOST = 20


def words(texts: Sequence[str]) -> list[int]:
    assert all(len(text) <= LONG_LETTERS for text in texts)
    return [len(text.split()) for text in texts]


def every_ten_words(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    parts = text.split(" ")
    for start in range(0, len(parts), 10):
        part = " ".join(parts[start : start + 10])
        yield at, part
        at += len(part) + 1


def excerpts(text: str) -> list[Excerpt]:
    return list(cut(markdown.blocks(text), words, MOST, every_ten_words))


def test_blocks_are_put_together_and_a_heading_begins_an_excerpt() -> None:
    text = "# One\n\nfour words in here\n\nand four words more\n\n## Two\n\n" + "word " * 15 + "\n\n# Three\n\nlast words\n"
    found = excerpts(text)
    assert [excerpt.text.split("\n")[0] for excerpt in found] == ["# One", "## Two", "# Three"]
    assert [excerpt.heading for excerpt in found] == ["One", "One > Two", "Three"]
    assert all(text[excerpt.start : excerpt.end] == excerpt.text for excerpt in found)


def test_headings_with_a_rule_below_them_stand_above_what_follows() -> None:
    found = excerpts("One\n===\n\n" + "word " * 12 + "\n\nTwo\n---\n\n" + "word " * 12 + "\n\nThree\n---\n\nlast words\n")
    assert [excerpt.heading for excerpt in found] == ["One", "One > Two", "One > Three"]
    assert [excerpt.text.split("\n")[0] for excerpt in found] == ["One", "Two", "Three"]


def test_a_heading_is_never_the_last_of_an_excerpt() -> None:
    found = excerpts("a b c d e f g h i j k l m n o p q r\n\n# Head\n\nits words follow here\n")
    assert [excerpt.text.split("\n")[-1] for excerpt in found] == ["a b c d e f g h i j k l m n o p q r", "its words follow here"]


@pytest.mark.parametrize(
    "text",
    [
        "1)\n\n" + "word " * 20,
        "word " * 20 + "\n\n1)\n",
        "A sentence of six words here. " * 3 + "Nine words are in this sentence and it ends. 1)",
        "many " * 19 + "ends.[41\n][42]",
        "a wall " * 15 + "1)",
    ],
)
def test_a_few_letters_are_no_excerpt_of_their_own(text: str) -> None:
    found = excerpts(text)
    assert all(sum(map(str.isalnum, excerpt.text)) >= 8 for excerpt in found), found
    assert max(words([excerpt.text for excerpt in found])) <= MOST


def test_a_heading_within_a_listing_is_none() -> None:
    (excerpt,) = excerpts("```sh\n# a comment\n\nls\n```\n")
    assert excerpt.heading == ""
    assert "ls" in excerpt.text


def test_the_parts_of_a_long_table_keep_its_head() -> None:
    table = "| a | b |\n| --- | --- |\n" + "".join(f"| {n} | {n * n} |\n" for n in range(9))
    found = excerpts(table)
    assert len(found) > 3
    assert all(excerpt.text.startswith("| a | b |\n| --- | --- |") for excerpt in found)
    assert found[-1].text.endswith("| 8 | 64 |")
    assert max(words([excerpt.text for excerpt in found])) <= MOST


def test_a_block_that_is_too_large_is_cut_at_its_lines_and_a_line_at_its_sentences() -> None:
    lines = "\n".join(f"line {n} has five words" for n in range(10))
    assert [excerpt.text.count("\n") for excerpt in excerpts(lines)] == [3, 3, 1]
    sentences = " ".join(f"This is sentence number {n}." for n in range(10))
    assert all(excerpt.text.startswith("This is") and excerpt.text.endswith(".") for excerpt in excerpts(sentences))


@pytest.mark.parametrize(
    "unit", ["many words ", "A sentence of six words here. ", "a line of six words here\n", "x", "par\n\n", "# head\n", "```\n"]
)
def test_any_text_is_measured_in_parts_and_only_a_few_times(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    measured = 0

    def counting(texts: Sequence[str]) -> list[int]:
        nonlocal measured
        measured += sum(map(len, texts))
        return words(texts)

    for excerpt in cut(markdown.blocks(text), counting, MOST, every_ten_words):
        assert excerpt.end - excerpt.start <= LONG_LETTERS
    assert measured <= 4 * len(text)


texts = st.lists(
    st.one_of(st.just("\n"), st.just("# Title\n"), st.just("### Sub\n"), st.just("```\n"), st.just("| a | b |\n"), st.text(max_size=80)),
    max_size=30,
).map("".join)


@given(texts)
def test_nothing_is_lost_and_everything_is_in_its_place(text: str) -> None:
    found = excerpts(text)
    assert max(words([excerpt.text for excerpt in found]), default=0) <= MOST
    kept: list[str] = []
    at = 0
    for excerpt in found:
        assert at <= excerpt.start < excerpt.end <= len(text)
        between = text[at : excerpt.start]
        assert not any(map(str.isalnum, between))
        kept.append(text[excerpt.start : excerpt.end])
        at = excerpt.end
    assert not any(map(str.isalnum, text[at:]))
    assert [c for c in text if c.isalnum()] == [c for part in kept for c in part if c.isalnum()]


def test_long_paths_of_headings_keep_the_innermost() -> None:
    assert heading_path(["One", " ", "Two"]) == "One > Two"
    assert heading_path(["x" * 300, "Two"]).endswith(" > Two")
    assert len(heading_path(["x" * 300, "Two"])) <= 160


def test_the_model_sees_the_headings_once() -> None:
    assert embedded_text("One > Two", "words") == "One > Two\nwords"
    assert embedded_text("One > Two", "## Two\n\nwords") == "## Two\n\nwords"
    assert embedded_text("", "words") == "words"


def test_an_excerpt_is_on_the_page_that_it_begins_on() -> None:
    told = [Block(Kind.PARAGRAPH, "word " * 15, page=page) for page in (1, 1, 2)] + [Block(Kind.PARAGRAPH, "few words", page=3)]
    assert [found.page for found in cut(placed(told, 0), words, MOST, every_ten_words)] == [1, 1, 2]


def test_a_row_too_large_to_stand_below_its_head_stands_without() -> None:
    rows = [["a head of", "seven words in"], *([f"row {n}", "of " * 9] for n in range(3))]
    found = list(cut(placed([table(rows)], 0), words, MOST, every_ten_words))
    assert max(words([excerpt.text for excerpt in found])) <= MOST
    assert sum(excerpt.text.count("row") for excerpt in found) == 3
