"""From the lines of a page, with their places and sizes, to blocks: headings, paragraphs, lists, rows, tables. Pure.

Everything that was a letter in a line is a letter in a block: no line is dropped, whatever it is taken for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from doctrain_worker.text.blocks import Block, Box, Kind, heading, table

_HEADING_RATIO = 1.15
_HEADING_LETTERS = 150
_LEVELS = 4
_FULL_LINE_SHARE = 0.7
_GAP_RATIO = 0.35
_SAME_SIZE = 0.35


_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_BULLET = re.compile(r"[\u2022\u2023\u25aa\u25cf\u25e6\uf0b7*\u2013-][ \t]+\S")
_NUMBER = re.compile(r"(?:\d{1,2}|[a-z])[.)][ \t]+\S")
_SENTENCE_END = (".", ":", ";", "!", "?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page.

    Args:
        text: what it says.
        height: of its letters, in any unit; of one unit with ``box`` and the size of the page.
        box: left, top, right and bottom, from the page's upper left corner.
        bold: whether it begins in bold letters.
        region: lines of different regions, such as columns, are of different blocks.
    """

    text: str
    height: float
    box: Box
    bold: bool = False
    region: int = 0

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.box[1]

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.box[3]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was found among the lines of a page, in their place."""

    rows: list[list[str]]
    box: Box


@dataclass(frozen=True, slots=True)
class Page:
    """What is on a page, in reading order; ``number`` from 1, ``size`` its width and height."""

    number: int
    size: tuple[float, float]
    content: Sequence[Line | Table]

    @property
    def lines(self) -> list[Line]:
        """The lines that are in no table."""
        return [found for found in self.content if isinstance(found, Line)]


@dataclass(frozen=True, slots=True)
class Style:
    """What a document's letters look like: those of its body, and the heights of its headings, largest first."""

    height: float
    bold: bool
    headings: tuple[float, ...]
    ratio: float = _HEADING_RATIO

    def is_heading(self, line: Line) -> bool:
        """Whether a line is larger than the body, or bold where the body is not, and reads like a heading."""
        if len(line.text) > _HEADING_LETTERS or not any(map(str.isalpha, line.text)):
            return False
        return line.height >= self.height * self.ratio or (line.bold and not self.bold and line.text.rstrip()[-1] not in ".,;")

    def level(self, line: Line) -> int:
        """1 for the largest; bold lines no larger than the body come below all others."""
        if line.height < self.height * self.ratio:
            return min(len(self.headings), _LEVELS - 1) + 1
        nearest = min(range(len(self.headings)), key=lambda i: abs(self.headings[i] - line.height)) if self.headings else 0
        return min(nearest, _LEVELS - 1) + 1


def style_of(pages: Sequence[Sequence[Line]], *, ratio: float = _HEADING_RATIO, same: float = _SAME_SIZE) -> Style:
    """The look that most letters of a document have, and that of its headings.

    Args:
        pages: the lines of each.
        ratio: how much larger than the body a heading is at least.
        same: heights that differ by no more are of one level.
    """
    letters: Counter[tuple[float, bool]] = Counter()
    for line in (line for page in pages for line in page):
        letters[round(line.height, 1), line.bold] += len(line.text)
    height, bold = letters.most_common(1)[0][0] if letters else (0.0, False)
    plain = Style(height, bold, (), ratio)
    larger = {round(line.height, 1) for page in pages for line in page if line.height >= height * ratio and plain.is_heading(line)}
    kept: list[float] = []
    for candidate in sorted(larger, reverse=True):
        if not kept or kept[-1] - candidate > same:
            kept.append(candidate)
    return Style(height, bold, tuple(kept), ratio)


def page_blocks(page: Page, style: Style) -> list[Block]:
    """The blocks of one page, without their places in the text."""
    lines = page.lines
    full = _full_length([line.text for line in lines if not style.is_heading(line)])
    usual = _usual_gap(lines)
    found: list[Block] = []
    for is_line, run in groupby(page.content, key=lambda content: isinstance(content, Line)):
        if is_line:
            found += _text_blocks([line for line in run if isinstance(line, Line)], style, full, usual)
        else:
            found += [_table_block(held) for held in run if isinstance(held, Table)]
    for block in found:
        block.page = page.number
        block.box = _share(block.box, page.size)
    return found


def _table_block(found: Table) -> Block:
    block = table(found.rows)
    block.box = found.box
    return block


def _text_blocks(lines: Sequence[Line], style: Style, full: float, usual: float) -> Iterator[Block]:
    held: list[Line] = []
    said = ""
    for line in lines:
        between = _between(held[-1] if held else None, line, style, full, usual)
        if between is None and held:
            yield _block(held, said, style)
            held, said = [], ""
        if between == " " and _is_hyphenated(said, line.text):
            said = said.rstrip()[:-1] + line.text.strip()
        else:
            said += (between or "") + line.text.strip()
        held.append(line)
    if held:
        yield _block(held, said, style)


def _block(lines: Sequence[Line], text: str, style: Style) -> Block:
    if style.is_heading(lines[0]):
        block = heading(text, style.level(lines[0]))
    else:
        block = Block(Kind.LIST if _BULLET.match(text) or _NUMBER.match(text) else Kind.PARAGRAPH, _plain(text))
    boxes = [line.box for line in lines]
    downs = [down for box in boxes for down in (box[1], box[3])]
    block.box = (min(box[0] for box in boxes), min(downs), max(box[2] for box in boxes), max(downs))
    return block


def _share(box: Box | None, size: tuple[float, float]) -> Box | None:
    """A box in shares of the page, with what lies beyond its edges cut off."""
    if box is None or min(size) <= 0:
        return None
    left, top, right, bottom = (
        min(max(round(edge / size[place % 2], 4), 0.0), 1.0) if edge == edge else 0.0  # noqa: PLR0124 - a broken font's NaN
        for place, edge in enumerate(box)
    )
    return left, top, right, bottom


def _between(above: Line | None, line: Line, style: Style, full: float, usual: float) -> str | None:
    """What stands between two lines of a block: nothing, a space within a paragraph, a line end between rows; None between two blocks."""
    if above is None or above.region != line.region:
        return None
    is_heading = style.is_heading(line)
    if style.is_heading(above) != is_heading or abs(above.height - line.height) > max(1.0, style.height * 0.3):
        return None
    gap = line.top - above.bottom
    if gap > usual + max(above.height, line.height) * _GAP_RATIO:
        return None
    if is_heading:
        return " " if gap > -line.height else None
    if _begins_item(above.text, line.text) or len(above.text.strip()) < full or is_right_to_left(above.text):
        return "\n"
    # CJK lines are cut within words; a space that stands at the end of one is told by its text.
    return "" if _CJK.match(above.text[-1:]) and _CJK.match(line.text) else " "


def _begins_item(above: str, text: str) -> bool:
    """Whether a line is the first of a list's item."""
    text = text.lstrip()
    return bool(_BULLET.match(text) or (_NUMBER.match(text) and above.rstrip().endswith(_SENTENCE_END)))


def _plain(text: str) -> str:
    """Text that is not a heading, though it may look like one to Markdown."""
    return f"\\{text}" if text.startswith("#") else text


def _usual_gap(lines: Sequence[Line]) -> float:
    """The gap between lines of one paragraph: that of most lines, when most are in paragraphs."""
    gaps = sorted(line.top - above.bottom for above, line in pairwise(lines) if abs(above.height - line.height) < 1)
    forwards = [gap for gap in gaps if gap > -1]
    return forwards[len(forwards) // 2] if forwards else 0.0


def _full_length(texts: Sequence[str]) -> float:
    """The length from which on a line is taken to go on in the next."""
    lengths = sorted(len(text.strip()) for text in texts)
    return lengths[len(lengths) * 3 // 4] * _FULL_LINE_SHARE if lengths else 0.0


def _is_hyphenated(above: str, below: str) -> bool:
    """Whether a word was cut at the end of the line, so that the hyphen is not its own."""
    above, below = above.rstrip(), below.lstrip()
    return len(above) > 2 and above[-1] == "-" and above[-2].islower() and below[:1].islower()


def is_right_to_left(text: str) -> bool:
    """Hebrew, Arabic and their neighbours, also in the forms in which PDFs hold them: their lines stay as they are."""
    return sum("\u0590" <= c <= "\u08ff" or "\ufb1d" <= c <= "\ufefc" for c in text) * 3 > len(text)
