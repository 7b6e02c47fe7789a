"""Rows of tables that hold several lines each, with a rule only around all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_FEWEST_COLUMNS = 2


def parted(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rows, those that hold several rows of figures cut apart.

    A row is cut when at least two of its columns have a figure in each of as many lines as any other has at most.
    """
    return [line for row in rows for line in _lines(row)]


def _lines(row: Sequence[str]) -> Iterator[list[str]]:
    cells = [cell.split("\n") for cell in row]
    most = max(map(len, cells), default=0)
    figures = sum(len(lines) == most and all(any(map(str.isdigit, line)) for line in lines) for lines in cells)
    if most < 2 or figures < _FEWEST_COLUMNS:
        yield list(row)
        return
    for place in range(most):
        yield [lines[place].strip() if place < len(lines) else "" for lines in cells]
