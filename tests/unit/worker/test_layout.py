"""Lines of pages to blocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.text.blocks import Kind
from doctrain_worker.text.layout import Line, Page, Table, page_blocks, style_of

SIZE = (600.0, 800.0)


def lines(*told: tuple[str, float] | tuple[str, float, float] | str) -> list[Line]:
    """From the top of a page down; each with its size (12), and the space above it (2)."""
    made = []
    at = 0.0
    for line in told:
        text, height, gap = (*((line,) if isinstance(line, str) else line), 12.0, 2.0)[:3] if isinstance(line, str) else (*line, 2.0)[:3]
        at += gap
        made.append(Line(str(text), float(height), (60.0, at, 60.0 + 5 * len(text), at + float(height))))
        at += float(height)
    return made


def markdown(page: list[Line]) -> str:
    return "\n\n".join(block.text for block in page_blocks(Page(1, SIZE, page), style_of([page])))


LONG = "a line of the body that is as long as the others here"


def test_larger_lines_are_headings_by_their_size() -> None:
    page = lines(("The title", 24), (LONG, 12, 12), LONG, ("A part", 16, 12), (LONG, 12, 12), "and its end.")
    assert markdown(page) == f"# The title\n\n{LONG} {LONG}\n\n## A part\n\n{LONG} and its end."


def test_bold_lines_of_the_same_size_are_headings_below_them() -> None:
    page = [
        *lines(("The title", 24), LONG, LONG, LONG),
        Line("A part", 12, (60, 100, 90, 112), bold=True),
        Line(LONG, 12, (60, 120, 300, 132)),
    ]
    assert "\n\n## A part\n\n" in markdown(page)


def test_short_lines_are_rows_and_larger_gaps_part_paragraphs() -> None:
    assert markdown(lines(LONG, LONG, ("one 1", 12), "two 2", (LONG, 12, 14), LONG)) == f"{LONG} {LONG} one 1\ntwo 2\n\n{LONG} {LONG}"


def test_items_of_a_list_are_in_lines_of_their_own() -> None:
    page = lines(LONG + ":", f"\u2022 {LONG}", "and its second line that is nearly as long too", f"\u2022 {LONG}", f"\u2022 {LONG}")
    assert markdown(page).count("\n\u2022") == 3
    assert "here and its second" in markdown(page)


def test_words_that_were_cut_are_whole_again() -> None:
    latin = lines(LONG + " docu-", "ment goes on here as long as it takes to be a line", LONG)
    assert "here document goes on" in markdown(latin)
    assert "확진자는 9,661명" in markdown(lines("코로나바이러스감염증의 국내 확", "진자는 9,661명, 사망자는 158명"))
    assert "국내 확진자는" in markdown(lines("이와 관련하여 코로나바이러스감염증의 국내 ", "확진자는 9,661명, 사망자는 158명"))


def test_text_that_begins_like_a_heading_is_none() -> None:
    assert markdown(lines(LONG, LONG, LONG, ("# of layers 12", 12, 20))).endswith("\\# of layers 12")


def test_blocks_know_their_page_and_their_place_on_it() -> None:
    page = Page(3, SIZE, [*lines(("The title", 24), (LONG, 12, 14)), Table([["a", "b"], ["1", "2|3"]], (60, 400, 300, 440))])
    title, body, table = page_blocks(page, style_of([page.lines]))
    assert [title.kind, body.kind, table.kind] == [Kind.HEADING, Kind.PARAGRAPH, Kind.TABLE]
    assert {block.page for block in (title, body, table)} == {3}
    assert title.box == (0.1, 0.0025, 0.175, 0.0325)
    assert table.box == (0.1, 0.5, 0.5, 0.55)
    assert table.cells == [["a", "b"], ["1", "2|3"]]
    assert table.text == "| a | b |\n| --- | --- |\n| 1 | 2\\|3 |"


def test_columns_are_not_joined() -> None:
    page = [Line(LONG, 12, (10, 10, 200, 22)), Line(LONG, 12, (10, 24, 200, 36), region=1)]
    assert markdown(page) == f"{LONG}\n\n{LONG}"


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=70).filter(str.strip),
            st.floats(4, 40),
            st.floats(-30, 40),
        )
    )
)
def test_no_letter_is_lost_or_moved(told: list[tuple[str, float, float]]) -> None:
    page = lines(*told)
    kept = [c for c in markdown(page) if c.isalnum()]
    assert kept == [c for line in page for c in line.text if c.isalnum()]
