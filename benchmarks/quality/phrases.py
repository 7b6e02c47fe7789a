"""Whether phrases stand in a text, and in which order. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_MARKS = re.compile(r"\\(?=[#|\\])")


@dataclass(frozen=True, slots=True)
class Search:
    """Phrases that are missing, and whether those that are not can be found one after the other."""

    missing: tuple[str, ...]
    in_order: bool


def search(text: str, phrases: Sequence[str]) -> Search:
    """Looks for each phrase; space, case and forms of letters do not count."""
    plain = normal(text)
    missing = tuple(phrase for phrase in phrases if normal(phrase) not in plain)
    at = 0
    for phrase in phrases:
        if phrase in missing:
            continue
        found = plain.find(normal(phrase), at)
        if found < 0:
            return Search(missing, in_order=False)
        at = found + len(normal(phrase))
    return Search(missing, in_order=True)


def normal(text: str) -> str:
    """Text in one form: NFKC, lower case, one space where there is any, without the marks of Markdown."""
    return " ".join(_MARKS.sub("", unicodedata.normalize("NFKC", text)).casefold().split())
