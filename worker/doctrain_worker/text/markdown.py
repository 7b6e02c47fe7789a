"""Markdown and plain text as blocks. Pure; one pass over the lines, in bounded memory whatever the text looks like.

No parser of Markdown: those lose words and places (docs/adr/0033).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from doctrain_worker.text.blocks import MOST_LEVELS, Block, Kind, cells_of

_FENCE = re.compile(r" {0,3}(```|~~~)")
_ITEM = re.compile(r"[ \t]*(?:[-*+\u2022]|\d{1,9}[.)])[ \t]+\S")
_TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_UNDERLINE = re.compile(r" {0,3}(?:={3,}|-{3,})")
_LONGEST_TITLE = 150
"""A longer line above a rule is prose."""

_LARGEST_CELLS = 65_536
"""A table of more characters is not taken apart into cells."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def blocks(text: str) -> Iterator[Block]:
    """Blocks end at an empty line, at a heading, or at the end of a fenced listing; together they hold all that is not empty."""
    start = -1
    at = first = 0
    fence = ""
    for match in _LINE.finditer(text):
        line = match[0]
        begin, at = match.span()
        opened = _FENCE.match(line)
        if fence:
            if opened is not None and opened[1] == fence:
                fence = ""
            continue
        heading = line.startswith("#") and _is_heading(line)
        if start >= 0 and (heading or not line.strip()):
            yield _block(text, start, begin)
            start = -1
        if heading:
            yield Block(Kind.HEADING, line.strip(), begin)
        elif start >= 0 and begin == first and _UNDERLINE.fullmatch(line.rstrip()) and _is_title(text[start:first]):
            yield Block(Kind.HEADING, text[start:at].rstrip(), start)
            start = -1
        elif line.strip() and start < 0:
            start, first = begin, at
        if opened is not None:
            fence = opened[1]
    if start >= 0:
        yield _block(text, start, at)


def _is_heading(line: str) -> bool:
    said = line.lstrip("#")
    return len(line) - len(said) <= MOST_LEVELS and said[:1] in (" ", "\t") and bool(said.strip(" \t\n#"))


def _is_title(line: str) -> bool:
    """Whether a line with a rule below it is a heading, and no item, row, quotation or listing."""
    said = line.strip()
    if len(said) > _LONGEST_TITLE or line.startswith(("    ", "\t", ">")) or "|" in said or _ITEM.match(line):
        return False
    return any(map(str.isalnum, said))


def _block(text: str, start: int, end: int) -> Block:
    while text[end - 1].isspace():
        end -= 1
    told = text[start:end]
    first, _, rest = told.partition("\n")
    if _FENCE.match(first):
        return Block(Kind.CODE, told, start)
    if "|" in first and _TABLE_RULE.fullmatch(rest.partition("\n")[0].strip()):
        return Block(Kind.TABLE, told, start, cells=cells_of(told) if len(told) <= _LARGEST_CELLS else [])
    return Block(Kind.LIST if _ITEM.match(first) else Kind.PARAGRAPH, told, start)
