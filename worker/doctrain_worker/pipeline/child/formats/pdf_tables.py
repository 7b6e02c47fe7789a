"""Tables that are drawn with lines on a page of a PDF: their cells by pdfplumber, what stands in them by pdfium."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pdfplumber
import pypdfium2

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.formats.pdf_view import view_of
from doctrain_worker.text.blocks import Box
from doctrain_worker.text.layout import Line, Table
from doctrain_worker.text.table_rows import parted

log = logging.getLogger(__name__)

_FEWEST_CELLS = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """A table's place and those of its cells, row by row; None where a cell is joined to another."""

    box: Box
    rows: list[list[Box | None]]


def cells(content: bytes, number: int) -> list[Grid]:
    """The tables of page ``number``; none when its lines cannot be made sense of."""
    logging.getLogger("pdfminer").setLevel(logging.CRITICAL)  # what it says names no document
    try:
        with pdfplumber.open(io.BytesIO(content), pages=[number]) as document:
            found = document.pages[0].find_tables()
            return [Grid(table.bbox, [list(row.cells) for row in table.rows]) for table in found if len(table.cells) >= _FEWEST_CELLS]
    except MemoryError:
        raise
    except Exception as error:  # it reads files that pdfium reads, and not all of them
        log.debug("no tables: %s", error)
        return []


def put_in(lines: list[Line], page: pypdfium2.PdfPage, grids: Sequence[Grid]) -> list[Line | Table]:
    """The lines, with each table in the place of the lines that stand in it, if it has all of their letters."""
    content: list[Line | Table] = list(lines)
    for grid in grids:
        inner = [line for line in lines if _is_within(line.box, grid.box)]
        rows = _rows(page, grid)
        if inner and _letters(line.text for line in inner) == _letters(cell for row in rows for cell in row):
            held = {id(line) for line in inner}
            at = next(place for place, found in enumerate(content) if id(found) in held)
            content[at] = Table(parted(rows), grid.box)
            content = [found for found in content if id(found) not in held]
    return content


def _rows(page: pypdfium2.PdfPage, grid: Grid) -> list[list[str]]:
    view = view_of(page)
    with contextlib.closing(page.get_textpage()) as words:
        return [["" if cell is None else _said(words, view.plane(cell)) for cell in row] for row in grid.rows]


def _said(words: pypdfium2.PdfTextPage, edges: Box) -> str:
    return encoding.clean(words.get_text_bounded(*edges)).strip()


def _is_within(inner: Box, outer: Box) -> bool:
    across, down = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= across <= outer[2] and outer[1] <= down <= outer[3]


def _letters(texts: Iterable[str]) -> Counter[str]:
    return Counter(letter for text in texts for letter in text if letter.isalnum())
