"""Words as the index and queries hold them, the same in every language and on every Postgres, whatever its locale.

A word is a run of letters, digits and the marks upon them, in one case, without accents and in one width, so that ``Café``
is found by ``CAFE`` and a ligature by its letters. Scripts that put no space between words give pairs of characters
instead, each overlapping the next (``東京都`` is ``東京``, ``京都``), and the last character alone: a single one is then found
by what begins with it.

Anybody's text and query come here, on loops that answer others as well: of a run that is longer than any word only the
beginning is looked at, for a letter may stand for eighteen, and marks are put in order in the square of their number.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

LONGEST_WORD = 64
"""Characters; what is longer is found by as many of its first ones."""

_LONGEST_RUN = 4 * LONGEST_WORD
"""Characters: a word of the longest, with three marks on each of its letters."""

# Thai, Lao, Myanmar, Khmer, Japanese, Chinese and Korean.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3031-\u3035\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_UNSPACED_LETTER = re.compile(".[\u3099\u309a\uff9e\uff9f]?")  # with the sign that voices a Japanese syllable
_UNSEEN = "\u00ad\u200b-\u200d\u2060\ufeff"
# Accents, points of Hebrew, vowels of Arabic and the stroke that lengthens its words, and what is not seen at all.
_DROPPED = re.compile(f"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed{_UNSEEN}]")
_DECIMAL = re.compile("[^\\D0-9]")


class Placed(NamedTuple):
    """A word of a text: what it is in the index, and where it stands, in characters."""

    word: str
    start: int
    end: int


def words(text: str) -> set[str]:
    """All words of a text."""
    found: set[str] = set()
    for run in set(_runs().findall(text.lower())):
        found.update(word.word for word in _pairs(run, 0)) if _UNSPACED_RUN.match(run) else found.update(_spaced(run))
    return found


def placed(text: str) -> Iterator[Placed]:
    """The words of a text in their order, each with its place."""
    for match in _runs().finditer(text):
        run, start = match[0], match.start()
        if _UNSPACED_RUN.match(run):
            yield from _pairs(run, start)
        else:
            yield from (Placed(word, start, match.end()) for word in _spaced(run))


def queried(text: str, most: int = sys.maxsize) -> list[str]:
    """The first different words to look for, in the order of a query; the last character of a longer run says nothing by itself."""
    found: dict[str, None] = {}
    for _, ending in groupby(placed(text), attrgetter("end")):
        together = [word.word for word in ending]
        found.update(dict.fromkeys([word for word in together if not is_single(word)] or together))
        if len(found) >= most:
            break
    return list(found)[:most]


def is_single(word: str) -> bool:
    """Whether a word is one character of a script without spaces, found by what begins with it."""
    return len(word) == 1 and _UNSPACED_RUN.match(word) is not None


def lexeme(tenant: int, word: str) -> str:
    """The word in the index: one tenant's, so that no other's is read for it."""
    return f"{tenant} {word}"


def condition(tenant: int, word: str) -> str:
    """A ``tsquery`` for what holds the word."""
    return f"'{lexeme(tenant, word)}'{':*' if is_single(word) else ''}"


def _pairs(run: str, start: int) -> Iterator[Placed]:
    """The words of a run without spaces that begins at ``start``."""
    letters = [
        (letter, start + match.start(), start + match.end())
        for match in _UNSPACED_LETTER.finditer(run)
        for letter in _plain_letter(match[0])
    ]
    for (letter, begin, end), (following, _, after) in zip(letters, [*letters[1:], ("", 0, 0)], strict=True):
        yield Placed(letter + following, begin, after or end)


def _spaced(run: str) -> tuple[str, ...]:
    """The words of any other run: mostly one, more where it holds a fraction."""
    if run.isascii():
        return (run[:LONGEST_WORD].lower(),)
    return _remembered(run) if len(run) <= LONGEST_WORD else _parts(run)


@lru_cache(20_000)
def _remembered(run: str) -> tuple[str, ...]:
    return _parts(run)


def _parts(run: str) -> tuple[str, ...]:
    lower = run[:_LONGEST_RUN].lower()[:_LONGEST_RUN]  # it may have more letters, and is cut where a text in lower case is
    return tuple(_runs().findall(_plain(lower)[:LONGEST_WORD]))


@lru_cache(20_000)
def _plain_letter(letter: str) -> str:
    return _plain(letter)


def _plain(run: str) -> str:
    seen = _DROPPED.sub("", unicodedata.normalize("NFKD", run))[:_LONGEST_RUN]
    return _DECIMAL.sub(lambda digit: str(unicodedata.decimal(digit[0])), unicodedata.normalize("NFC", seen).casefold())


@cache
def _runs() -> re.Pattern[str]:
    """Runs of one kind: of a script without spaces, or of letters, digits, marks and what is not seen."""
    marks = (number for number in range(0x300, 0x12000) if unicodedata.category(chr(number)) in {"Mn", "Mc"})
    neighbours = (tuple(group) for _, group in groupby(enumerate(marks), lambda pair: pair[1] - pair[0]))
    ranges = "".join(f"{chr(group[0][1])}-{chr(group[-1][1])}" for group in neighbours)
    letter, mark = f"[^\\W_{_UNSPACED}]", f"[{ranges}{_UNSEEN}]"
    return re.compile(f"[{_UNSPACED}]+|{letter}+(?:{mark}+{letter}*)*")
