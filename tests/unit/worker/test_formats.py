"""What each format says: every word, in order, with its structure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from doctrain_worker.text.blocks import Kind
from testkit import documents, office_documents
from testkit.office_documents import paragraph, word_table
from testkit.reading import blocks, text


def kinds(content: bytes, name: str = "") -> list[tuple[Kind, str]]:
    return [(block.kind, block.text) for block in blocks(content, name)]


def test_word() -> None:
    body = (
        paragraph("Minutes", style="Heading1")
        + paragraph("AT", "&", "T is < 5 ", "and > 3")
        + paragraph("At the quay", style="Heading2")
        + word_table([["Ship", "Crew"], ["Anna | Eva", "7"]])
        + "<w:p><w:r><w:t>Invoice</w:t><w:tab/><w:t>4711</w:t></w:r></w:p>"
    )
    assert kinds(office_documents.docx(body)) == [
        (Kind.HEADING, "# Minutes"),
        (Kind.PARAGRAPH, "AT&T is < 5 and > 3"),
        (Kind.HEADING, "## At the quay"),
        (Kind.TABLE, "| Ship | Crew |\n| --- | --- |\n| Anna \\| Eva | 7 |"),
        (Kind.PARAGRAPH, "Invoice 4711"),
    ]


def test_slides_are_pages() -> None:
    found = blocks(office_documents.pptx([("First", [["One ", "line"]]), ("Second", [["S", "ome words"], ["more"]])]))
    assert [(block.kind, block.page, block.text) for block in found] == [
        (Kind.HEADING, 1, "## First"),
        (Kind.PARAGRAPH, 1, "One line"),
        (Kind.HEADING, 2, "## Second"),
        (Kind.LIST, 2, "- Some words\n- more"),
    ]
    assert all(block.box is not None for block in found)


@pytest.mark.parametrize("made", [office_documents.xlsx, office_documents.ods])
def test_sheets_are_pages_below_their_names(made: Callable[[dict[str, list[list[str]]]], bytes]) -> None:
    found = blocks(made({"Q & A": [["Name", "Sum"], ["Ann", "3"]], "Empty": [], "Last": [["x"]]}))
    assert [(block.page, block.text.split("\n")[0]) for block in found] == [
        (1, "## Q & A"),
        (1, "| Name | Sum |"),
        (3, "## Last"),
        (3, "| x |"),
    ]
    assert found[1].cells == [["Name", "Sum"], ["Ann", "3"]]


def test_a_long_table_is_several_below_one_head() -> None:
    rows = "name,sum\n" + "".join(f"row {n},{n}\n" for n in range(1200))
    found = blocks(rows.encode(), "long.csv")
    assert [len(block.cells) for block in found] == [501, 501, 201]
    assert all(block.text.startswith("| name | sum |\n| --- | --- |\n") for block in found)
    assert sum(block.text.count("| row ") for block in found) == 1200


@pytest.mark.parametrize("between", [",", ";", "\t", "|"])
def test_delimited_text(between: str) -> None:
    table = "\n".join(between.join(row) for row in (["Stadt", "Größe"], ["Köln", '"1, 2; 3"'], ["Kiel", ""])) + "\n"
    (found,) = blocks(table.encode("cp1252"), "t.csv")
    assert found.cells == [["Stadt", "Größe"], ["Köln", "1, 2; 3"], ["Kiel", ""]]


def test_open_document() -> None:
    body = (
        '<text:h text:outline-level="1">Q &amp; A</text:h><text:p>AT&amp;T is &lt; BT</text:p>'
        "<text:list><text:list-item><text:p>one</text:p></text:list-item><text:list-item><text:p>two</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p>"
        "</table:table-cell></table:table-row></table:table>"
    )
    assert kinds(office_documents.odt(body)) == [
        (Kind.HEADING, "# Q & A"),
        (Kind.PARAGRAPH, "AT&T is < BT"),
        (Kind.LIST, "- one\n- two"),
        (Kind.TABLE, "| a | b |\n| --- | --- |"),
    ]


def test_book() -> None:
    chapters = ["<h1>Chap &amp; one</h1><p>AT&amp;T said</p><ul><li>a</li><li>b</li></ul>", "<h1>Two</h1><p>End</p>"]
    assert kinds(office_documents.epub(chapters)) == [
        (Kind.HEADING, "# Chap & one"),
        (Kind.PARAGRAPH, "AT&T said"),
        (Kind.LIST, "- a\n- b"),
        (Kind.HEADING, "# Two"),
        (Kind.PARAGRAPH, "End"),
    ]


def test_rich_text_in_its_code_page() -> None:
    head = rb"{\rtf1\ansi\ansicpg1250\deff0{\fonttbl{\f0 Arial;}}\f0 "
    said = rb"\'c8l\'e1nek t\'fddne\par Druh\'fd\par\trowd\cellx100\cellx200 a\cell b\cell\row}"
    assert kinds(head + said) == [
        (Kind.PARAGRAPH, "Článek týdne"),
        (Kind.PARAGRAPH, "Druhý"),
        (Kind.TABLE, "| a | b |\n| --- | --- |"),
    ]


def test_json_says_where_each_value_stands() -> None:
    content = {"ship": {"name": "Anna", "crew": [{"name": "Eva"}, {"name": "Ida"}]}, "sunk": False, "note": None}
    assert text(json.dumps(content).encode()) == "ship.name: Anna\nship.crew.name: Eva\nship.crew.name: Ida\n\nsunk: False"
    assert text(b'{"a": 1}\n{"a": "caf\\u00e9"}\n', "x.jsonl") == "a: 1\n\na: café"


def test_markdown_and_text_keep_their_places() -> None:
    content = "# A title\n\n\n  first words  \n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- item\n- item\n\n```\n# no heading\n\ncode\n```\n"
    found = blocks(content.encode(), "a.md")
    assert [block.kind for block in found] == [Kind.HEADING, Kind.PARAGRAPH, Kind.TABLE, Kind.LIST, Kind.CODE]
    assert all(content[block.start : block.end] == block.text for block in found)
    assert found[2].cells == [["a", "b"], ["1", "2"]]


def test_a_line_with_a_rule_below_it_is_a_heading() -> None:
    content = "Tides\n=====\nTwice a day.\n\nThe moon\n---\nIt pulls.\n"
    found = blocks(content.encode(), "a.md")
    assert [(block.kind, block.level, block.title) for block in found if block.level] == [
        (Kind.HEADING, 1, "Tides"),
        (Kind.HEADING, 2, "The moon"),
    ]
    assert [block.text for block in found if not block.level] == ["Twice a day.", "It pulls."]
    assert all(content[block.start : block.end] == block.text for block in found)


@pytest.mark.parametrize(
    "content",
    [
        "two lines\nof prose\n---",
        "- an item\n---",
        "| a |\n---",
        "> a quotation\n---",
        "    listing\n---",
        "---\ntitle: x\n---",
        "* * *\n---",
        "a signature follows\n--",
        "word " * 40 + "\n---",
        "```\n---\n```",
    ],
)
def test_a_rule_below_anything_else_makes_no_heading(content: str) -> None:
    (found,) = blocks(content.encode(), "a.md")
    assert found.kind is not Kind.HEADING
    assert found.text == content


HTML_PARTS = """<p>a <b>b</b>c<br>d
 e</p>tail<div>x<p>y</p></div><h2>Head <i>it</i></h2><ul><li>one<ul><li>two</li></ul></li><li>three</li></ul>
<pre>x
  y</pre><table><tr><th colspan=2>h</th></tr><tr><td rowspan=2>a</td><td>b</td></tr><tr><td>d</td></tr></table><script>no</script>"""


def test_markup() -> None:
    from doctrain_worker.pipeline.child.formats import markup

    assert [(block.kind, block.text) for block in markup.blocks(HTML_PARTS)] == [
        (Kind.PARAGRAPH, "a bc\nd e"),
        (Kind.PARAGRAPH, "tail"),
        (Kind.PARAGRAPH, "x"),
        (Kind.PARAGRAPH, "y"),
        (Kind.HEADING, "## Head it"),
        (Kind.LIST, "- one\n  - two\n- three"),
        (Kind.CODE, "```\nx\n  y\n```"),
        (Kind.TABLE, "| h |  |\n| --- | --- |\n| a | b |\n| a | d |"),
    ]


def test_a_page_gives_its_main_content_with_the_title() -> None:
    page = (
        "<html><head><title>Tides</title></head><body><nav><a href='/'>Home</a> <a href='/about'>About us</a></nav><article><p>"
        + "The moon and the sun raise the tides of the sea twice a day. " * 8
        + "</p></article><footer>Imprint</footer></body></html>"
    )
    found = text(page.encode())
    assert found.startswith("# Tides")
    assert "raise the tides" in found
    assert "About us" not in found


ADVICE = "<p>" + "A night train leaves at ten in the evening and reaches the coast at seven, with two stops in the mountains. " * 3 + "</p>"


def test_a_page_keeps_what_is_no_navigation_however_little_it_is() -> None:
    page = (
        "<title>Trains</title><nav><a href='/'>Home</a></nav><div><ul><li><a href='/a'>Tickets</a><li><a href='/b'>Contact</a></ul></div>"
        f"<h1>Timetable</h1>{ADVICE}<h2>Fares</h2><table><tr><th>Class<th>Price<tr><td>QQ-77<td>5</table>"
        f"<h3>On board</h3><ul><li>Toaster</ul>{ADVICE}<ul><li><a href='/x'>Dogs</a><li><a href='/y'>Bicycles</a></ul><p>Ring 555-0199.</p>"
        "<div class='sidebar'><p><a href='/c'>News</a> <a href='/d'>Offers</a></p></div><footer>Written in Bremen.</footer>"
    )
    assert [block.text for block in blocks(page.encode(), "a.html") if "night train" not in block.text] == [
        "# Trains",
        "# Timetable",
        "## Fares",
        "| Class | Price |\n| --- | --- |\n| QQ-77 | 5 |",
        "### On board",
        "- Toaster",
        "- Dogs\n- Bicycles",
        "Ring 555-0199.",
        "Written in Bremen.",
    ]


def test_a_page_of_few_words_keeps_its_headings() -> None:
    page = (
        "<title>FAQ</title><nav>Homepage</nav><h1>FAQ</h1>"
        "<h2>Opening hours</h2><p>Nine to five.</p><h2>Parking</h2><p>Behind the house.</p>"
    )
    assert [block.text for block in blocks(page.encode(), "a.html")] == [
        "# FAQ",
        "## Opening hours",
        "Nine to five.",
        "## Parking",
        "Behind the house.",
    ]


def test_a_page_too_large_to_look_for_its_main_content_is_read_whole() -> None:
    page = "<title>Tides</title><nav>About us</nav>" + "<p>The moon raises the tides.</p>" * 150_000
    found = text(page.encode(), "a.html")
    assert found.startswith("# Tides")
    assert found.count("raises") == 150_000


def test_what_the_finder_of_main_content_says_of_an_empty_page_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert text(b"<html><body><script>x()</script></body></html>") == ""
    assert not caplog.records


def test_a_form_says_what_was_filled_in() -> None:
    assert "Filled by Ann" in text(documents.form_pdf("Filled by Ann"))


@pytest.mark.parametrize("owner_locked", [False, True])
def test_a_table_with_rules_is_a_table_and_the_rest_of_its_page_stays(owner_locked: bool) -> None:
    rows = [["Tyre", "Bar"], ["28 mm", "4.5"], ["37 mm", "3.5"]]
    found = blocks(documents.ruled_pdf(rows, above="How hard to pump", below="Pump slowly", owner_locked=owner_locked))
    assert [block.kind for block in found] == [Kind.PARAGRAPH, Kind.TABLE, Kind.PARAGRAPH]
    assert found[1].cells == rows
    assert found[1].box is not None
    assert found[0].box is not None
    assert found[0].box[3] <= found[1].box[1]


def test_a_pdf_that_only_its_owner_may_change_is_read() -> None:
    locked = documents.owner_locked_pdf("BT /F1 12 Tf 72 720 Td (For all to read.) Tj ET")
    assert b"/Encrypt" in locked
    assert b"For all to read." not in locked
    assert text(locked) == "For all to read."


def test_a_library_is_loaded_by_the_first_document_that_needs_it() -> None:
    heavy = "tesserocr", "PIL", "pptx", "mammoth", "oxmsg", "trafilatura", "kreuzberg", "pypdfium2", "pdfplumber"
    program = f"""
import sys
from doctrain_worker.pipeline.child.read import read
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.pipeline.wire import ReadLimits
assert list(read(Source(b"Words.", "", "a.txt", ReadLimits(1, 1, 1, "eng", False))))
print([name for name in {heavy!r} if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
