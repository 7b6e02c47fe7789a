"""Rows as Postgres's binary COPY takes them, for what asyncpg would encode slowly or not at all.

A row is the number of its columns and then each value after its length, so a row's bytes can be put together of ready
pieces: ``row(int8(1), text("a"), NULL)``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

START = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)

_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_NUMBER = struct.Struct(">i")
_INT = struct.Struct(">ii")
_BIGINT = struct.Struct(">iq")
_NOWHERE = b"\0" + _COUNT.pack(0)
_FIRST = b"\0" + _COUNT.pack(1) + _COUNT.pack(1)
"""At the first place, with the least weight (D)."""


def row(*values: bytes) -> bytes:
    """One row of values."""
    return _COUNT.pack(len(values)) + b"".join(values)


def numbered_rows(*values: bytes, numbers: Iterable[int]) -> bytes:
    """Rows that differ by their last column only, an ``int``; for millions of them."""
    same, number = _COUNT.pack(len(values) + 1) + b"".join(values) + _LENGTH.pack(_NUMBER.size), _NUMBER.pack
    return b"".join([same + number(last) for last in numbers])


def value(content: bytes) -> bytes:
    """A value in its type's binary form."""
    return _LENGTH.pack(len(content)) + content


def int4(number: int) -> bytes:
    """An ``int``."""
    return _INT.pack(4, number)


def int8(number: int) -> bytes:
    """A ``bigint``."""
    return _BIGINT.pack(8, number)


def text(content: str) -> bytes:
    """A ``text``."""
    return value(content.encode())


def halfvec(halves: bytes) -> bytes:
    """A ``halfvec`` of pgvector: big-endian half floats, one after the other."""
    return value(struct.pack(">hh", len(halves) // 2, 0) + halves)


def tsvector(lexemes: Iterable[str], beside: Iterable[str] = ()) -> bytes:
    """A ``tsvector`` of different lexemes, in any order; those ``beside`` have a place, so that ``lexeme:A`` finds the others alone."""
    entries = [lexeme.encode() + _NOWHERE for lexeme in lexemes]
    entries += [lexeme.encode() + _FIRST for lexeme in beside]
    return value(_NUMBER.pack(len(entries)) + b"".join(entries))
