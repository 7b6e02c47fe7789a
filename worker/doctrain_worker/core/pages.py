"""Which page a place in a document's text is on. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def page_at(starts: Sequence[int], offset: int) -> int:
    """The page, from 1, that an offset is on, by where each page begins; 0 when there are no pages."""
    return bisect_right(starts, offset) if starts else 0
