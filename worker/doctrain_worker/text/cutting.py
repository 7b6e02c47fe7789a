"""Cuts up a block that is too large for one excerpt: at its lines, a line at its sentences, a sentence by a splitter. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from doctrain_worker.text.blocks import Block, Kind

LONG_LETTERS = 4096
"""What is longer is too large without being measured. The splitter is given so much at a time."""

LEAST_LETTERS = 8
"""Letters and digits; what has fewer stands with what is beside it, where that has room."""

_CRUMB_LENGTH = 64
_BATCH_LETTERS = 32_768
_BATCH_PARTS = 256

_HEAD_SHARE = 0.5
"""A table's head above this share of the most is not repeated."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|$)", re.DOTALL)

Sizes = Callable[[Sequence[str]], Sequence[int]]
"""Measures texts. Texts with space between them are together no larger than their sum."""

Split = Callable[[str], Iterable[tuple[int, str]]]
"""Cuts a text into parts of at most the wanted size; each with its offset in characters."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a text: where it is, in characters, the page it begins on, what it says, and the headings above it."""

    start: int
    end: int
    page: int
    text: str
    heading: str = ""


@dataclass(slots=True)
class Part:
    """What a block says from ``start`` to ``end``, or the whole block."""

    block: Block
    start: int
    end: int
    size: int = 0
    alone: bool = False  # cut within a word: not to be joined with what follows

    @property
    def text(self) -> str:
        """What it says."""
        return self.block.text[self.start : self.end]


def is_crumb(parts: Sequence[Part]) -> bool:
    """Whether they say so little that nobody looks for them alone, such as ``1)`` or ``][42]``. Most are known by their first few."""
    length = 0
    for part in parts:
        length += part.end - part.start
        if length > _CRUMB_LENGTH:
            return False
    return sum(map(str.isalnum, "".join(part.text for part in parts))) < LEAST_LETTERS


_Finer = Callable[[Part], Iterable[Part]]


def excerpt(parts: Sequence[Part], heading: str, head: str = "") -> Excerpt:
    """The excerpt of parts that follow one another, below a table's ``head`` that is not theirs."""
    first, last = parts[0], parts[-1]
    told = []
    for _, of_block in groupby(parts, key=lambda part: id(part.block)):
        held = list(of_block)
        told.append(held[0].block.text[held[0].start : held[-1].end])
    if head and told[0].startswith("|"):
        told[0] = f"{head}\n{told[0]}"
    return Excerpt(first.block.start + first.start, last.block.start + last.end, first.block.page, "\n\n".join(told), heading)


def measured(parts: Iterable[Part], sizes: Sizes, most: int) -> Iterator[Part]:
    """The parts with their sizes, many measured at a time."""
    for batch in _batches(parts):
        short = [part for part in batch if part.end - part.start <= LONG_LETTERS]
        for part, size in zip(short, sizes([part.text for part in short]), strict=True):
            part.size = size
        for part in batch:
            if part.end - part.start > LONG_LETTERS:
                part.size = most + 1
            yield part


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    batch: list[Part] = []
    letters = 0
    for part in parts:
        batch.append(part)
        letters += min(part.end - part.start, LONG_LETTERS)
        if letters >= _BATCH_LETTERS or len(batch) >= _BATCH_PARTS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Head:
    """What is repeated of a table."""

    text: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts up what is too large for one excerpt."""

    sizes: Sizes
    most: int
    split: Split

    def excerpts(self, blocks: Sequence[Part], heading: str) -> Iterator[Excerpt]:
        """Excerpts as full as may be; a table's head stands in each of its excerpts. ``blocks`` are whole ones, one is the large one."""
        head = self._head(next((part.block for part in reversed(blocks) if part.block.kind is Kind.TABLE), blocks[-1].block))
        before: list[Part] = []
        for held in self._groups(blocks, head):
            before, after = self._evened(before, held)
            if before:
                yield self._excerpt(before, heading, head)
            before = after
        if before:
            yield self._excerpt(before, heading, head)

    def _groups(self, blocks: Sequence[Part], head: _Head) -> Iterator[list[Part]]:
        held: list[Part] = []
        room = self.most
        for part in self._fitting(self._lines(blocks), (self._sentences, self._split_up)):
            far = bool(held) and part.block.start + part.end - (held[0].block.start + held[0].start) > LONG_LETTERS
            if held and (part.size > room or part.alone or held[-1].alone or far):
                yield held
                held = []
                room = self.most - (head.size if _is_headless(part) else 0)
            held.append(part)
            room -= part.size
        if held:
            yield held

    def _evened(self, before: list[Part], after: list[Part]) -> tuple[list[Part], list[Part]]:
        """Two that follow one another; where one is but crumbs it gets what is beside it in the other, or half of that, if it fits."""
        if not before or before[-1].alone or after[0].alone:
            return before, after
        if is_crumb(after):
            rest, last = before[:-1], before[-1]
            options = [(rest, [last, *after]), *(([*rest, first], [second, *after]) for first, second in self._halves(last))]
        elif is_crumb(before):
            options = [([*before, first], [second, *after[1:]]) for first, second in self._halves(after[0])]
        else:
            return before, after
        return next((option for option in options if all(map(self._is_good, option))), (before, after))

    def _is_good(self, parts: Sequence[Part]) -> bool:
        near = bool(parts) and parts[-1].block.start + parts[-1].end - (parts[0].block.start + parts[0].start) <= LONG_LETTERS
        return near and not is_crumb(parts) and sum(part.size for part in parts) <= self.most

    def _halves(self, part: Part) -> Iterator[tuple[Part, Part]]:
        """Cut at the space after its middle; nothing where there is none."""
        space = part.block.text.find(" ", (part.start + part.end) // 2, part.end)
        cut = [*_trimmed(part.block, part.start, space), *_trimmed(part.block, space, part.end)] if space > 0 else []
        if len(cut) == 2:
            first, second = measured(cut, self.sizes, self.most)
            yield first, second

    def _excerpt(self, parts: Sequence[Part], heading: str, head: _Head) -> Excerpt:
        fits = _is_headless(parts[0]) and head.size + sum(part.size for part in parts) <= self.most
        return excerpt(parts, heading, head.text if fits else "")

    def _head(self, block: Block) -> _Head:
        """The first two lines of a table, unless they take too much of each excerpt."""
        if block.kind is not Kind.TABLE:
            return _Head()
        text = "\n".join(block.text[:LONG_LETTERS].split("\n", 2)[:2])
        (size,) = self.sizes([text])
        return _Head(text, size) if size <= self.most * _HEAD_SHARE else _Head()

    def _fitting(self, parts: Iterable[Part], finer: Sequence[_Finer]) -> Iterator[Part]:
        """Parts that fit, what does not fit cut by the first of ``finer``, and so on."""
        for part in measured(parts, self.sizes, self.most):
            if part.size <= self.most:
                yield part
            elif finer:
                yield from self._fitting(finer[0](part), finer[1:])
            else:
                yield from self._letters(part)

    def _lines(self, blocks: Sequence[Part]) -> Iterator[Part]:
        for part in blocks:
            for match in _LINE.finditer(part.block.text):
                yield from _trimmed(part.block, match.start(), match.end())

    def _sentences(self, line: Part) -> Iterator[Part]:
        for match in _SENTENCE.finditer(line.block.text, line.start, line.end):
            yield from _trimmed(line.block, match.start(), match.end())

    def _split_up(self, sentence: Part) -> Iterator[Part]:
        text, at = sentence.block.text, sentence.start
        while at < sentence.end:
            end = min(sentence.end, at + LONG_LETTERS)
            space = text.rfind(" ", at + 1, end) if end < sentence.end else -1
            end = space if space > 0 else end
            for offset, part in self.split(text[at:end]):
                yield from _trimmed(sentence.block, at + offset, at + offset + len(part))
            at = end

    def _letters(self, part: Part) -> Iterator[Part]:
        """What a splitter left too large, having found no place to cut, is cut anywhere."""
        step = max(1, (part.end - part.start) * self.most // part.size)
        for start in range(part.start, part.end, step):
            yield Part(part.block, start, min(part.end, start + step), size=self.most, alone=True)


def _is_headless(part: Part) -> bool:
    """Whether a part of a table is not its beginning."""
    return part.block.kind is Kind.TABLE and part.start > 0


def _trimmed(block: Block, start: int, end: int) -> Iterator[Part]:
    """The part without space around it, unless it is nothing but space."""
    told = block.text[start:end]
    kept = told.strip()
    if kept:
        begin = start + len(told) - len(told.lstrip())
        yield Part(block, begin, begin + len(kept))
