"""Cuts Markdown or plain text into pieces that a model takes whole, along its own structure. Pure.

Blocks (a heading, a paragraph, a list, a table, a fenced listing) are put together until a piece is full. A heading
begins a new piece unless the one before is still small, and never ends one. A block that is too large alone is cut by
the splitter given. Every piece knows its place in the text, so nothing is lost and everything can be found again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

HEADING_LETTERS = 160
"""A longer path of headings is cut from its outer end: the innermost says most."""

BETWEEN = " > "

_SMALL_SHARE = 0.4
"""A piece below this share of the most goes on over a heading."""

_HEADING = re.compile(r"(#{1,6})[ \t]+(.+?)[ \t]*#*")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_TABLE_RULE = re.compile(r"\|[\s:|-]+\|")

Size = Callable[[str], int]
Split = Callable[[str], Iterable[tuple[int, str]]]
"""Cuts a text into parts of at most the wanted size; each with its offset in characters."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: where it is, in characters, what it says, and the headings above it."""

    start: int
    end: int
    text: str
    heading: str = ""


@dataclass(slots=True)
class _Block:
    start: int
    end: int
    level: int  # of a heading; 0: anything else


def cut(text: str, size: Size, most: int, split: Split) -> Iterator[Piece]:
    """The pieces of a text in their order, each of at most ``most`` by ``size``; those without a word are left out."""
    packer = _Packer(text, size, most)
    for block in _blocks(text):
        yield from _fitted(packer.add(block), size, most, split)
    yield from _fitted(packer.flush(), size, most, split)


@dataclass(slots=True)
class _Packer:
    """Puts blocks together."""

    text: str
    size: Size
    most: int
    held: list[_Block] = field(default_factory=list)
    total: int = 0
    stack: list[tuple[int, str]] = field(default_factory=list)
    path: str = ""

    def add(self, block: _Block) -> Iterator[Piece]:
        size = self.size(self.text[block.start : block.end])
        full = self.total + size > self.most
        if full or (block.level and self.total >= self.most * _SMALL_SHARE):
            yield from self.flush(keep_headings=True)
        if block.level:
            self._enter(block)
        if not self.held:
            self.path = heading_path([heading for _, heading in self.stack])
        self.held.append(block)
        self.total += size

    def flush(self, *, keep_headings: bool = False) -> Iterator[Piece]:
        kept: list[_Block] = []
        while keep_headings and self.held and self.held[-1].level:
            kept.insert(0, self.held.pop())
        if self.held:
            start, end = self.held[0].start, self.held[-1].end
            yield Piece(start, end, self.text[start:end], self.path)
        self.held = kept
        self.total = sum(self.size(self.text[block.start : block.end]) for block in kept)
        self.path = heading_path([heading for _, heading in self.stack])

    def _enter(self, block: _Block) -> None:
        match = _HEADING.fullmatch(self.text[block.start : block.end].strip())
        while self.stack and self.stack[-1][0] >= block.level:
            self.stack.pop()
        self.stack.append((block.level, match[2] if match else ""))


def _blocks(text: str) -> Iterator[_Block]:
    """Blocks end at an empty line, at a heading, or at the end of a fenced listing; they hold all that is not empty."""
    start = -1
    at = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        begin, at = at, at + len(line)
        opened = _FENCE.match(line)
        if fence:
            if opened is not None and opened[1] == fence:
                fence = ""
            continue
        heading = _HEADING.fullmatch(line.strip()) if line.startswith("#") else None
        if start >= 0 and (heading is not None or not line.strip()):
            yield _Block(start, _trimmed(text, start, begin), 0)
            start = -1
        if heading is not None:
            yield _Block(begin, _trimmed(text, begin, at), len(heading[1]))
        elif line.strip() and start < 0:
            start = begin
        if opened is not None:
            fence = opened[1]
    if start >= 0:
        yield _Block(start, _trimmed(text, start, at), 0)


def _trimmed(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end


def _fitted(pieces: Iterable[Piece], size: Size, most: int, split: Split) -> Iterator[Piece]:
    """Pieces that are too large cut up; a table's head stands in each of its parts."""
    for piece in pieces:
        if not _says_something(piece.text):
            continue
        if size(piece.text) <= most:
            yield piece
            continue
        head = table_head(piece.text)
        for offset, part in _hard_cut(split(piece.text), size, most):
            if _says_something(part):
                start = piece.start + offset
                repeated = f"{head}\n{part}" if head and offset > 0 and part.startswith("|") else ""
                told = repeated if repeated and size(repeated) <= most else part
                yield Piece(start, start + len(part), told, piece.heading)


def _hard_cut(parts: Iterable[tuple[int, str]], size: Size, most: int) -> Iterator[tuple[int, str]]:
    """What a splitter left too large, having found no place to cut, is cut anywhere."""
    for offset, part in parts:
        measured = size(part)
        step = len(part) if measured <= most else max(1, len(part) * most // measured)
        for start in range(0, len(part), step):
            yield offset + start, part[start : start + step]


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)


def heading_path(headings: Sequence[str]) -> str:
    """The headings in one line, the innermost kept when they are too long."""
    path = BETWEEN.join(heading.strip() for heading in headings if heading.strip())
    return path if len(path) <= HEADING_LETTERS else "…" + path[-HEADING_LETTERS + 1 :]


def table_head(text: str) -> str:
    """The first two lines of a Markdown table that a text begins with (after its headings), or nothing."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) >= 2 and lines[0].startswith("|") and _TABLE_RULE.fullmatch(lines[1].strip()):
        return f"{lines[0]}\n{lines[1]}"
    return ""


def embedded_text(heading: str, text: str) -> str:
    """What the model sees of a chunk: its headings first, unless it begins with the innermost."""
    innermost = heading.rpartition(BETWEEN)[2]
    return text if not heading or text.lstrip("# ").startswith(innermost) else f"{heading}\n{text}"
