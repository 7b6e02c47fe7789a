"""What the headers of an HTTP answer say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

Headers = Sequence[tuple[bytes, bytes]]

LONGEST_RETRY_AFTER_SECONDS = 300.0
_MOST_CHARACTERS = 64
"""Of a Retry-After header: a date has 29."""


def header(headers: Headers, name: bytes) -> str:
    """A header's value, or nothing; ``name`` in small letters."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")


def retry_after_seconds(headers: Headers) -> float | None:
    """How long the server asks to be left alone, five minutes at most; None when it does not say so in a way that can be read."""
    told = header(headers, b"retry-after").strip()
    if len(told) > _MOST_CHARACTERS:
        return None
    try:
        seconds = float(told) if told.isdecimal() else parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, min(seconds, LONGEST_RETRY_AFTER_SECONDS))
