"""Puts the blocks of a text together to excerpts that a model takes whole. Pure.

Blocks are put together until an excerpt is full. A heading begins a new excerpt unless the one before is still small, and
never ends one. A block that is too large alone is cut (``text.cutting``), and so is one beside a few letters that would else stand
alone. Every excerpt knows its place in the text, so
nothing is lost and everything can be found again.

Time is linear in the text and memory is bounded, whatever the text looks like: excerpts come as they are found, each part
of the text is measured once for each way in which it is cut, many parts at a time, and never one of more than
``LONG_LETTERS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from doctrain_worker.text.blocks import Block
from doctrain_worker.text.cutting import LONG_LETTERS, Cutter, Excerpt, Part, Sizes, Split, excerpt, is_crumb, measured

HEADING_LETTERS = 160
"""A longer path of headings is cut from its outer end: the innermost says most."""

BETWEEN = " > "

_SMALL_SHARE = 0.4
"""An excerpt below this share of the most goes on over a heading."""


def cut(blocks: Iterable[Block], sizes: Sizes, most: int, split: Split) -> Iterator[Excerpt]:
    """The excerpts of one text in their order, each of at most ``most`` by ``sizes``; those without a word are left out."""
    packer = _Packer(most, Cutter(sizes, most, split))
    for part in measured((Part(block, 0, len(block.text)) for block in blocks), sizes, most):
        yield from filter(_says_something, packer.add(part))
    yield from filter(_says_something, packer.flush())


@dataclass(slots=True)
class _Packer:
    """Puts blocks together, each a part that is the whole block."""

    most: int
    cutter: Cutter
    held: list[Part] = field(default_factory=list)
    total: int = 0
    stack: list[tuple[int, str]] = field(default_factory=list)
    path: str = ""

    def add(self, part: Part) -> Iterator[Excerpt]:
        level = part.block.level
        far = bool(self.held) and part.block.end - self.held[0].block.start > LONG_LETTERS
        full = far or (self.total + part.size > self.most and not self._is_beside_crumbs(part))
        if full or (level and self.total >= self.most * _SMALL_SHARE):
            yield from self.flush(keep_headings=True)
        if level:
            self._enter(part.block, level)
        if not self.held:
            self.path = heading_path([heading for _, heading in self.stack])
        self.held.append(part)
        self.total += part.size

    def _is_beside_crumbs(self, part: Part) -> bool:
        """Whether a block is cut up that has a few letters before it, or is those."""
        return bool(self.held) and (is_crumb(self.held) or (not part.block.level and is_crumb([part])))

    def flush(self, *, keep_headings: bool = False) -> Iterator[Excerpt]:
        kept: list[Part] = []
        if keep_headings:
            said = next((place for place in range(len(self.held), 0, -1) if not self.held[place - 1].block.level), 0)
            if said or self.total < self.most * _SMALL_SHARE:  # else there is nothing but headings: they are one
                kept, self.held = self.held[said:], self.held[:said]
        if self.held:
            near = self.held[-1].block.end - self.held[0].block.start <= LONG_LETTERS
            if near and sum(part.size for part in self.held) <= self.most:
                yield excerpt(self.held, self.path)
            else:
                yield from self.cutter.excerpts(self.held, self.path)
        self.held = kept
        self.total = sum(part.size for part in kept)
        self.path = heading_path([heading for _, heading in self.stack])

    def _enter(self, block: Block, level: int) -> None:
        while self.stack and self.stack[-1][0] >= level:
            self.stack.pop()
        self.stack.append((level, block.title))


def _says_something(found: Excerpt) -> bool:
    return any(character.isalnum() for character in found.text)


def heading_path(headings: Sequence[str]) -> str:
    """The headings in one line, the innermost kept when they are too long."""
    path = BETWEEN.join(heading.strip() for heading in headings if heading.strip())
    return path if len(path) <= HEADING_LETTERS else "…" + path[-HEADING_LETTERS + 1 :]


def embedded_text(heading: str, text: str) -> str:
    """What the model sees of a chunk: its headings first, unless it begins with the innermost."""
    innermost = heading.rpartition(BETWEEN)[2]
    return text if not heading or text.lstrip("# ").startswith(innermost) else f"{heading}\n{text}"
