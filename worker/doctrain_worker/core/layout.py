"""From the lines of a page, with their places and sizes, to Markdown: headings, paragraphs, rows. Pure.

Everything that was a letter in a line is a letter in the Markdown: no line is dropped, whatever it is taken for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_HEADING_RATIO = 1.15
_HEADING_LETTERS = 150
_LEVELS = 4
_FULL_LINE_SHARE = 0.7
_GAP_RATIO = 0.35
_SAME_SIZE = 0.35


_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page.

    Args:
        text: what it says.
        height: of its letters, in points.
        top: where it is, in points upwards from the page's foot.
        bottom: likewise.
        bold: whether it begins in bold letters.
    """

    text: str
    height: float
    top: float
    bottom: float
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """What a document's letters look like: those of its body, and the heights of its headings, largest first."""

    height: float
    bold: bool
    headings: tuple[float, ...]

    def is_heading(self, line: Line) -> bool:
        """Whether a line is larger than the body, or bold where the body is not, and reads like a heading."""
        if len(line.text) > _HEADING_LETTERS or not any(map(str.isalpha, line.text)):
            return False
        return line.height >= self.height * _HEADING_RATIO or (line.bold and not self.bold and line.text.rstrip()[-1] not in ".,;")

    def level(self, line: Line) -> int:
        """1 for the largest; bold lines no larger than the body come below all others."""
        if line.height < self.height * _HEADING_RATIO:
            return min(len(self.headings), _LEVELS - 1) + 1
        nearest = min(range(len(self.headings)), key=lambda i: abs(self.headings[i] - line.height)) if self.headings else 0
        return min(nearest, _LEVELS - 1) + 1


def style_of(pages: Sequence[Sequence[Line]]) -> Style:
    """The look that most letters of a document have, and that of its headings."""
    letters: Counter[tuple[float, bool]] = Counter()
    for line in (line for page in pages for line in page):
        letters[round(line.height, 1), line.bold] += len(line.text)
    height, bold = letters.most_common(1)[0][0] if letters else (0.0, False)
    plain = Style(height, bold, ())
    larger = {round(line.height, 1) for page in pages for line in page if line.height >= height * _HEADING_RATIO and plain.is_heading(line)}
    kept: list[float] = []
    for candidate in sorted(larger, reverse=True):
        if not kept or kept[-1] - candidate > _SAME_SIZE:
            kept.append(candidate)
    return Style(height, bold, tuple(kept))


def page_markdown(lines: Sequence[Line], style: Style) -> str:
    """One page."""
    full = _full_length([line.text for line in lines if not style.is_heading(line)])
    usual = _usual_gap(lines)
    parts: list[str] = []
    previous: Line | None = None
    for line in lines:
        between = _between(previous, line, style, full, usual)
        if style.is_heading(line) and between in ("", "\n\n"):
            parts += (between, "#" * style.level(line), " ", line.text.strip())
        elif between == " " and _is_hyphenated(parts[-1], line.text):
            parts[-1] = parts[-1].rstrip()[:-1]
            parts.append(line.text.strip())
        else:
            parts += (between, _plain(line.text))
        previous = line
    return "".join(parts)


def _between(above: Line | None, line: Line, style: Style, full: float, usual: float) -> str:
    """What stands between two lines: nothing, a space within a paragraph, a line end between rows, or an empty line."""
    if above is None:
        return ""
    heading = style.is_heading(line)
    if style.is_heading(above) != heading or abs(above.height - line.height) > max(1.0, style.height * 0.3):
        return "\n\n"
    gap = above.bottom - line.top
    if gap > usual + max(above.height, line.height) * _GAP_RATIO:
        return "\n\n"
    if heading:
        return " " if gap > -line.height else "\n\n"
    if len(above.text.strip()) < full or _is_right_to_left(above.text):
        return "\n"
    # CJK lines are cut within words; a space that stands at the end of one is told by its text.
    return "" if _CJK.match(above.text[-1:]) and _CJK.match(line.text) else " "


def _plain(text: str) -> str:
    """Text that is not a heading, though it may look like one to Markdown."""
    text = text.strip()
    return f"\\{text}" if text.startswith("#") else text


def _usual_gap(lines: Sequence[Line]) -> float:
    """The gap between lines of one paragraph: that of most lines, when most are in paragraphs."""
    gaps = sorted(above.bottom - line.top for above, line in pairwise(lines) if abs(above.height - line.height) < 1)
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


def _is_right_to_left(text: str) -> bool:
    """Hebrew, Arabic and their neighbours, also in the forms in which PDFs hold them: their lines stay as they are."""
    return sum("\u0590" <= c <= "\u08ff" or "\ufb1d" <= c <= "\ufefc" for c in text) * 3 > len(text)
