"""The part of a passage that shows why it was found. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from doctrain_mesh.words import Placed, is_single, placed

LONGEST = 280
"""Characters, the marks of a cut left out."""

CUT = "…"
BETWEEN_CELLS = ", "
_BEFORE = 60
"""Characters before the first word that is shown for its sake."""
_LONGEST_WORD = 24
"""A cut is moved to the next space within so many characters."""
_MOST_WEIGHT = 8
_SPACE = re.compile(r"\s+")
_HEADING = re.compile(r"#{1,6} +")
_RULE = re.compile(r"\|[\s:|-]+\|\s*|\s*(?:={3,}|-{3,})\s*")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One line, and where the words that were looked for stand in it."""

    text: str
    matches: Sequence[tuple[int, int]]


def snippet(text: str, wanted: Collection[str]) -> Snippet:
    """The part of ``text`` with most of the words ``wanted``, or its beginning where it has none."""
    line = _SPACE.sub(" ", " ".join(filter(None, map(_said, text.splitlines())))).strip()
    found = [word for word in placed(line) if _is_wanted(word.word, wanted)]
    start, end = _window(line, found)
    before = CUT if start else ""
    ranges = [
        (word.start - start + len(before), word.end - start + len(before)) for word in found if word.start >= start and word.end <= end
    ]
    return Snippet(f"{before}{line[start:end]}{CUT if end < len(line) else ''}", _joined(ranges))


def _said(line: str) -> str:
    """What a line of Markdown says, without the signs of a heading or a table."""
    if _RULE.fullmatch(line):
        return ""
    if line.startswith("|"):
        return f"{BETWEEN_CELLS.join(filter(None, (cell.strip() for cell in line.split('|'))))};"
    heading = _HEADING.match(line)
    return f"{line[heading.end() :].rstrip(': ')}:" if heading else line


def _is_wanted(word: str, wanted: Collection[str]) -> bool:
    return word in wanted or any(is_single(one) and word.startswith(one) for one in wanted)


def _window(line: str, found: Sequence[Placed]) -> tuple[int, int]:
    """Where the best part begins and ends."""
    if len(line) <= LONGEST:
        return 0, len(line)
    first = max(found, key=lambda word: (_weight(found, word.start), -word.start)).start if found else 0
    start = max(0, min(first - _BEFORE, len(line) - LONGEST))
    if start:
        space = line.find(" ", start, min(first, start + _LONGEST_WORD))
        start = space + 1 if space >= 0 else start
    end = min(len(line), start + LONGEST)
    if end < len(line):
        space = line.rfind(" ", end - _LONGEST_WORD, end)
        end = space if space >= 0 else end
    return start, end


def _weight(found: Sequence[Placed], start: int) -> int:
    """How much a part that shows the word at ``start`` says: each word once, and the longer the more, for the short ones are everywhere."""
    near = {word.word for word in found if start <= word.start and word.end <= start + LONGEST - _BEFORE - _LONGEST_WORD}
    return sum(min(len(word), _MOST_WEIGHT) for word in near)


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that meet or overlap made one, as pairs of characters do."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
