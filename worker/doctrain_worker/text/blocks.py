"""What a document's text is made of: blocks in reading order, each with its kind and its place. Pure.

A part of a document (the document itself, or an attachment) has one text: its blocks, with an empty line between two. In
Markdown and plain text, where a reader may look a place up in what they sent, it is the text as it was.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

GAP = 2
"""Characters between two blocks."""

ROWS_A_TABLE = 500

MOST_COLUMNS = 500
"""In a wider table short rows stay short: filled up, they could be far more than the document."""

MOST_LEVELS = 6
"""Of headings."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the page (0 to 1) from its upper left corner."""


class Kind(enum.StrEnum):
    """What a block is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


class Block(msgspec.Struct, array_like=True):
    """A block.

    Args:
        kind: what it is.
        text: what it says, in Markdown: a heading with its ``#`` or with the rule below it, a table with its rows in lines.
        start: where it begins in the text of its part, in characters.
        page: the page it is on, from 1; 0 where there are no pages.
        box: where it is on the page, if that is known.
        cells: of a table, row by row, the first row its head; empty when there are too many.
    """

    kind: Kind
    text: str
    start: int = 0
    page: int = 0
    box: Box | None = None
    cells: list[list[str]] = []

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + len(self.text)

    @property
    def level(self) -> int:
        """The level of a heading, 1 for the outermost; 0 for anything else."""
        if self.kind is not Kind.HEADING:
            return 0
        return len(self.text) - len(self.text.lstrip("#")) or (1 if self.text.endswith("=") else 2)

    @property
    def title(self) -> str:
        """What a heading says, without its signs."""
        return self.text.partition("\n")[0].strip("# \t")


def heading(text: str, level: int, page: int = 0) -> Block:
    """A heading; in one line, whatever it was."""
    return Block(Kind.HEADING, f"{'#' * min(max(level, 1), MOST_LEVELS)} {' '.join(text.split())}", page=page)


def table(cells: Sequence[Sequence[str]], page: int = 0) -> Block:
    """A table; columns and rows that are empty at its far ends are left out."""
    rows = [[" ".join(cell.split()) for cell in row] for row in cells]
    while rows and not any(rows[-1]):
        rows.pop()
    width = max((place + 1 for row in rows for place, cell in enumerate(row) if cell), default=0)
    even = [(row + [""] * (width if width <= MOST_COLUMNS else 0))[:width] for row in rows]
    return Block(Kind.TABLE, _table_markdown(even), page=page, cells=even)


def tables(rows: Iterable[Sequence[str]], page: int = 0) -> Iterator[Block]:
    """A table of any length as several of at most ``ROWS_A_TABLE``, each below its first row."""
    said = (row for row in rows if any(map(str.strip, row)))
    head = next(said, None)
    if head is None:
        return
    some = list(islice(said, ROWS_A_TABLE))
    yield table([head, *some], page)
    while some := list(islice(said, ROWS_A_TABLE)):
        yield table([head, *some], page)


def _table_markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if lines:
        lines.insert(1, "|" + " --- |" * max(len(rows[0]), 1))
    return "\n".join(lines)


def placed(blocks: Iterable[Block], start: int) -> Iterator[Block]:
    """The blocks that say anything, each with its place, the first at ``start``."""
    for block in blocks:
        if block.text:
            block.start = start
            start = block.end + GAP
            yield block


_MARKS = re.compile(r"(?<!\\)\|")


def cells_of(markdown: str) -> list[list[str]]:
    """The cells of a table that is Markdown already."""
    rows = [line.strip().removeprefix("|").removesuffix("|") for line in markdown.splitlines()]
    return [[cell.strip().replace("\\|", "|") for cell in _MARKS.split(row)] for place, row in enumerate(rows) if place != 1]
