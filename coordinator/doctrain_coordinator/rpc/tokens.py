"""Page tokens and resume positions: opaque to callers, good on any coordinator, bound to the call that made them.

They hold nothing secret and open nothing: what they name is read with the caller's own tenant. The checksum only tells
a mistake from a position.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from doctrain_mesh.errors import InvalidResumePositionError

_CHECK_BYTES = 6
MOST = 2**63 - 1
"""The largest number of a token, and of a row."""


def make(scope: str, *numbers: int) -> str:
    """A token for ``scope`` (the call and what it was asked of)."""
    body = ",".join(map(str, numbers)).encode()
    return base64.urlsafe_b64encode(_check(scope, body) + body).decode().rstrip("=")


def read(scope: str, token: str, count: int, what: str, *, most: int = MOST) -> list[int]:
    """The numbers, up to ``most``, of a token that ``make`` made for the same scope; raises InvalidResumePositionError."""
    wrong = InvalidResumePositionError(f"The {what} is not one that this call answered; leave it empty to start over.")
    if len(token) > 200:
        raise wrong
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        numbers = [int(number) for number in raw[_CHECK_BYTES:].split(b",")]
    except (binascii.Error, ValueError):
        raise wrong from None
    if raw[:_CHECK_BYTES] != _check(scope, raw[_CHECK_BYTES:]) or len(numbers) != count or any(not -1 <= n <= most for n in numbers):
        raise wrong
    return numbers


def page(scope: str, token: str, first: int, *, most: int = MOST) -> int:
    """After, or before, which row the page that is asked for begins; ``first`` without a token. Raises as ``read``."""
    return read(scope, token, 1, "page token", most=most)[0] if token else first


def _check(scope: str, body: bytes) -> bytes:
    return hashlib.sha256(scope.encode() + b"\0" + body).digest()[:_CHECK_BYTES]
