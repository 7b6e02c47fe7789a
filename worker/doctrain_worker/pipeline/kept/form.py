"""A slice as an artifact: its name, its form, and whether it is sound. Pure."""

from __future__ import annotations

import hashlib

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

from doctrain_worker.pipeline.wire import ReadSlice, Slice

MOST_PAGES = 100
"""Of a slice."""

_encoder = Encoder()
_kept = Decoder(ReadSlice)
_slice = Decoder(Slice)


def name_of(one: ReadSlice) -> str:
    """A name that is equal for the same place of a document."""
    return hashlib.sha256(f"{one.part}\n{one.first_page}".encode()).hexdigest()[:32]


def packed(one: ReadSlice) -> bytes:
    """The bytes of it that are stored."""
    return _encoder.encode(one)


def read(content: bytes) -> ReadSlice | None:
    """What ``packed`` made; None for what is no sound slice."""
    try:
        one = _kept.decode(content)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return one if is_sound(one) else None


def is_sound(one: ReadSlice) -> bool:
    """Whether its value is a slice of the pages that it is said to be of."""
    try:
        value = _slice.decode(one.value)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    pages = one.last_page - one.first_page + 1
    return (
        (value.part, value.first_page, value.last_page) == (one.part, one.first_page, one.last_page)
        and one.first_page > 0
        and 0 < pages <= MOST_PAGES
        and 0 <= value.recognised <= pages
        and 0 <= value.blank <= pages
        and all(one.first_page <= block.page <= one.last_page for block in value.blocks)
    )
