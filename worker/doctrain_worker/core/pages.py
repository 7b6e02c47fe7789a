"""Which page a place in a document's text is on, and how the lines of a page belong together. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

_FULL_LINE_SHARE = 0.7
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")

_SIGHT = 24
"""Letters and digits that tell where a page begins."""


def page_starts(text: str, pages: Sequence[str]) -> tuple[int, ...]:
    """Where in ``text`` each page begins, when ``text`` is the pages' text with other marks and spaces between.

    A page whose first words are not found begins where the letters before it would end.
    """
    places = [i for i, character in enumerate(text) if character.isalnum()]
    letters = "".join(text[i] for i in places)
    starts = []
    at = 0
    for page in pages:
        content = "".join(filter(str.isalnum, page))
        found = letters.find(content[:_SIGHT], at) if content else -1
        begins = at if found < 0 else found
        starts.append(places[begins] if begins < len(places) else len(text))
        at = min(begins + len(content) * 9 // 10, len(letters))
    if starts:
        starts[0] = 0
    return tuple(starts)


def page_at(starts: Sequence[int], offset: int) -> int:
    """The page, from 1, that an offset is on; 0 when there are no pages."""
    return bisect_right(starts, offset) if starts else 0


def unwrap_cjk(page: str) -> str:
    """Joins lines that were wrapped within a word, as CJK text is; a line much shorter than the next is a heading and stays."""
    lines = page.split("\n")
    joined = [lines[0]]
    for above, below in pairwise(lines):
        if len(above) >= len(below) * _FULL_LINE_SHARE and _CJK.match(above[-1:]) and _CJK.match(below):
            joined[-1] += below
        else:
            joined.append(below)
    return "\n".join(joined)
