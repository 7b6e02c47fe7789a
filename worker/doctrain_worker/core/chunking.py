"""Cuts Markdown or plain text into excerpts that a model takes whole, along its own structure. Pure.

Blocks (a heading, a paragraph, a list, a table, a fenced listing) are put together until an excerpt is full. A heading
begins a new excerpt unless the one before is still small, and never ends one. A block that is too large alone is cut at
its lines, a line at its sentences, and a sentence by the splitter given. Every excerpt knows its place in the text, so
nothing is lost and everything can be found again.

Time is linear in the text and memory is bounded, whatever the text looks like: excerpts come as they are found, each part
of the text is measured once for each way in which it is cut, many parts at a time, and never one of more than
``LONG_LETTERS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

HEADING_LETTERS = 160
"""A longer path of headings is cut from its outer end: the innermost says most."""

BETWEEN = " > "

LONG_LETTERS = 4096
"""What is longer is too large without being measured. The splitter is given so much at a time."""

_BATCH_LETTERS = 32_768
_BATCH_PARTS = 256

_SMALL_SHARE = 0.4
"""An excerpt below this share of the most goes on over a heading."""

_HEAD_SHARE = 0.5
"""A table's head above this share of the most is not repeated."""

_HEADING = re.compile(r"(#{1,6})[ \t]+(.+?)[ \t]*#*")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_TABLE_RULE = re.compile(r"\|[\s:|-]+\|")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|$)", re.DOTALL)

Sizes = Callable[[Sequence[str]], Sequence[int]]
"""Measures texts. Texts with space between them are together no larger than their sum."""

Split = Callable[[str], Iterable[tuple[int, str]]]
"""Cuts a text into parts of at most the wanted size; each with its offset in characters."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a text: where it is, in characters, what it says, and the headings above it."""

    start: int
    end: int
    text: str
    heading: str = ""


@dataclass(slots=True)
class _Part:
    start: int
    end: int
    level: int = 0  # of a heading; 0: anything else
    size: int = 0
    alone: bool = False  # cut within a word: not to be joined with what follows


_Finer = Callable[[_Part], Iterable[_Part]]


def cut(text: str, sizes: Sizes, most: int, split: Split) -> Iterator[Excerpt]:
    """The excerpts of a text in their order, each of at most ``most`` by ``sizes``; those without a word are left out."""
    packer = _Packer(text, most, _Cutter(text, sizes, most, split))
    for block in _measured(text, _blocks(text), sizes, most):
        yield from filter(_says_something, packer.add(block))
    yield from filter(_says_something, packer.flush())


def _measured(text: str, parts: Iterable[_Part], sizes: Sizes, most: int) -> Iterator[_Part]:
    """The parts with their sizes, many measured at a time."""
    for batch in _batches(parts):
        short = [part for part in batch if part.end - part.start <= LONG_LETTERS]
        for part, size in zip(short, sizes([text[part.start : part.end] for part in short]), strict=True):
            part.size = size
        for part in batch:
            if part.end - part.start > LONG_LETTERS:
                part.size = most + 1
            yield part


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    batch: list[_Part] = []
    letters = 0
    for part in parts:
        batch.append(part)
        letters += min(part.end - part.start, LONG_LETTERS)
        if letters >= _BATCH_LETTERS or len(batch) >= _BATCH_PARTS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


@dataclass(slots=True)
class _Packer:
    """Puts blocks together."""

    text: str
    most: int
    cutter: _Cutter
    held: list[_Part] = field(default_factory=list)
    total: int = 0
    stack: list[tuple[int, str]] = field(default_factory=list)
    path: str = ""

    def add(self, block: _Part) -> Iterator[Excerpt]:
        far = bool(self.held) and block.end - self.held[0].start > LONG_LETTERS
        full = far or self.total + block.size > self.most
        if full or (block.level and self.total >= self.most * _SMALL_SHARE):
            yield from self.flush(keep_headings=True)
        if block.level:
            self._enter(block)
        if not self.held:
            self.path = heading_path([heading for _, heading in self.stack])
        self.held.append(block)
        self.total += block.size

    def flush(self, *, keep_headings: bool = False) -> Iterator[Excerpt]:
        kept: list[_Part] = []
        if keep_headings:
            said = next((place for place in range(len(self.held), 0, -1) if not self.held[place - 1].level), 0)
            if said or self.total < self.most * _SMALL_SHARE:  # else there is nothing but headings: they are one
                kept, self.held = self.held[said:], self.held[:said]
        if self.held:
            start, end = self.held[0].start, self.held[-1].end
            if sum(block.size for block in self.held) <= self.most and end - start <= LONG_LETTERS:
                yield Excerpt(start, end, self.text[start:end], self.path)
            else:
                yield from self.cutter.excerpts(start, end, self.path)
        self.held = kept
        self.total = sum(block.size for block in kept)
        self.path = heading_path([heading for _, heading in self.stack])

    def _enter(self, block: _Part) -> None:
        match = _HEADING.fullmatch(self.text[block.start : block.end].strip())
        while self.stack and self.stack[-1][0] >= block.level:
            self.stack.pop()
        self.stack.append((block.level, match[2] if match else ""))


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts up what is too large for one excerpt."""

    text: str
    sizes: Sizes
    most: int
    split: Split

    def excerpts(self, start: int, end: int, heading: str) -> Iterator[Excerpt]:
        """As full as may be; a table's head stands in each of its excerpts."""
        head = table_head(self.text[start : min(end, start + LONG_LETTERS)])
        head_size = self.sizes([head])[0] if head else 0
        if head_size > self.most * _HEAD_SHARE:
            head, head_size = "", 0
        first, last, total, alone = start, start, 0, False
        for part in self._fitting(self._lines(start, end), (self._sentences, self._split_up)):
            room = self.most - (head_size if first > start else 0)
            if last > first and (total + part.size > room or alone or part.alone or part.end - first > LONG_LETTERS):
                yield self._excerpt(first, last, heading, head if first > start else "")
                first, total = part.start, 0
            elif last == first:
                first = part.start
            last, total, alone = part.end, total + part.size, part.alone
        if last > first:
            yield self._excerpt(first, last, heading, head if first > start else "")

    def _excerpt(self, start: int, end: int, heading: str, head: str) -> Excerpt:
        told = self.text[start:end]
        return Excerpt(start, end, f"{head}\n{told}" if head and told.startswith("|") else told, heading)

    def _fitting(self, parts: Iterable[_Part], finer: Sequence[_Finer]) -> Iterator[_Part]:
        """Parts that fit, what does not fit cut by the first of ``finer``, and so on."""
        for part in _measured(self.text, parts, self.sizes, self.most):
            if part.size <= self.most:
                yield part
            elif finer:
                yield from self._fitting(finer[0](part), finer[1:])
            else:
                yield from self._letters(part)

    def _lines(self, start: int, end: int) -> Iterator[_Part]:
        for match in _LINE.finditer(self.text, start, end):
            yield from self._trimmed(match.start(), match.end())

    def _sentences(self, line: _Part) -> Iterator[_Part]:
        for match in _SENTENCE.finditer(self.text, line.start, line.end):
            yield from self._trimmed(match.start(), match.end())

    def _split_up(self, sentence: _Part) -> Iterator[_Part]:
        at = sentence.start
        while at < sentence.end:
            end = min(sentence.end, at + LONG_LETTERS)
            space = self.text.rfind(" ", at + 1, end) if end < sentence.end else -1
            end = space if space > 0 else end
            for offset, part in self.split(self.text[at:end]):
                yield from self._trimmed(at + offset, at + offset + len(part))
            at = end

    def _letters(self, part: _Part) -> Iterator[_Part]:
        """What a splitter left too large, having found no place to cut, is cut anywhere."""
        step = max(1, (part.end - part.start) * self.most // part.size)
        for start in range(part.start, part.end, step):
            yield _Part(start, min(part.end, start + step), size=self.most, alone=True)

    def _trimmed(self, start: int, end: int) -> Iterator[_Part]:
        """The part without space around it, unless it is nothing but space."""
        told = self.text[start:end]
        kept = told.strip()
        if kept:
            begin = start + len(told) - len(told.lstrip())
            yield _Part(begin, begin + len(kept))


def _blocks(text: str) -> Iterator[_Part]:
    """Blocks end at an empty line, at a heading, or at the end of a fenced listing; they hold all that is not empty."""
    start = -1
    at = 0
    fence = ""
    for match in _LINE.finditer(text):
        line = match[0]
        begin, at = match.span()
        opened = _FENCE.match(line)
        if fence:
            if opened is not None and opened[1] == fence:
                fence = ""
            continue
        heading = _HEADING.fullmatch(line.strip()) if line.startswith("#") else None
        if start >= 0 and (heading is not None or not line.strip()):
            yield _Part(start, _trimmed(text, start, begin))
            start = -1
        if heading is not None:
            yield _Part(begin, _trimmed(text, begin, at), len(heading[1]))
        elif line.strip() and start < 0:
            start = begin
        if opened is not None:
            fence = opened[1]
    if start >= 0:
        yield _Part(start, _trimmed(text, start, at))


def _trimmed(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isspace():
        end -= 1
    return end


def _says_something(excerpt: Excerpt) -> bool:
    return any(character.isalnum() for character in excerpt.text)


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
