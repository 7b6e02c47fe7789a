"""The part of a passage that shows why it was found. Pure."""

from __future__ import annotations

import re
from collections import Counter
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
_SHOWN = LONGEST - _BEFORE - _LONGEST_WORD
"""Characters from the first word on that are shown wherever the cuts fall."""
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
    if _HEADING.match(text.rstrip().rpartition("\n")[2]):
        line = line.removesuffix(":")  # which leads to nothing
    singles = {word for word in wanted if is_single(word)}
    found = [word for word in placed(line) if word.word in wanted or word.word[0] in singles]
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


def _window(line: str, found: Sequence[Placed]) -> tuple[int, int]:
    """Where the best part begins and ends."""
    if len(line) <= LONGEST:
        return 0, len(line)
    first = _telling_most(found).start if found else 0
    start = max(0, min(first - _BEFORE, len(line) - LONGEST))
    if start:
        space = line.find(" ", start, min(first, start + _LONGEST_WORD))
        start = space + 1 if space >= 0 else start
    end = min(len(line), start + LONGEST)
    if end < len(line):
        space = line.rfind(" ", end - _LONGEST_WORD, end)
        end = space if space >= 0 else end
    return start, end


def _telling_most(found: Sequence[Placed]) -> Placed:
    """The first of the words with which a part says most: each word once, and the longer the more, for the short ones are everywhere."""
    near: Counter[str] = Counter()
    best, most, weight, after = found[0], 0, 0, 0
    for place, first in enumerate(found):
        after = max(after, place)
        while after < len(found) and found[after].end <= first.start + _SHOWN:
            weight += 0 if near[found[after].word] else _weight(found[after].word)
            near[found[after].word] += 1
            after += 1
        if weight > most:
            best, most = first, weight
        if after > place:
            near[first.word] -= 1
            weight -= 0 if near[first.word] else _weight(first.word)
    return best


def _weight(word: str) -> int:
    return min(len(word), _MOST_WEIGHT)


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that meet or overlap made one, as pairs of characters do."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
