"""What each document does, and so how it must end: decided by its training's id and its number alone. Standard library only."""

from __future__ import annotations

import enum
import hashlib
import json

ASSASSINS = "assassins"
"""A training whose id ends with this holds one document that kills the worker's main process each time."""


class Kind(enum.Enum):
    """What a document does to whoever processes it."""

    NORMAL = "normal"
    SLOW = "slow"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    CRASH = "crash"
    HANG = "hang"
    ASSASSIN = "assassin"


_SHARES = ((Kind.CRASH, 30), (Kind.HANG, 4), (Kind.PERMANENT, 60), (Kind.TRANSIENT, 120), (Kind.SLOW, 100))
"""Of ten thousand documents."""

EXPECTED_CODES = {
    Kind.NORMAL: "",
    Kind.SLOW: "",
    Kind.TRANSIENT: "",
    Kind.PERMANENT: "CHAOS",
    Kind.CRASH: "CRASHED",
    Kind.HANG: "TIME_LIMIT",
    Kind.ASSASSIN: "CRASHED_WORKER",
}
"""The error code with which each kind ends; empty: it is trained."""

NEMESIS_CODE = "MEMORY_LIMIT"
"""How a document ends whose child was killed from outside: as one that the kernel killed for want of memory."""


def _draw(training: str, number: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{training}/{number}/{what}".encode()).digest()[:4], "big")


def kind_of(training: str, number: int) -> Kind:
    """The document's kind."""
    if training.endswith(ASSASSINS):
        return Kind.ASSASSIN if number % 10 == 7 else Kind.NORMAL
    place = _draw(training, number, "kind") % 10_000
    for kind, share in _SHARES:
        if place < share:
            return kind
        place -= share
    return Kind.NORMAL


def seconds_of(training: str, number: int) -> float:
    """How long its reading takes."""
    draw = _draw(training, number, "seconds") / 2**32
    return 0.6 + 1.6 * draw if kind_of(training, number) is Kind.SLOW else 0.02 + 0.1 * draw


def content_of(training: str, number: int) -> bytes:
    """Its bytes."""
    words = hashlib.sha256(f"{training}/{number}".encode()).hexdigest()
    return json.dumps({"training": training, "number": number, "text": f"Document {number} says {words}."}).encode()


def hash_of(training: str, number: int) -> bytes:
    """SHA-256 of its bytes."""
    return hashlib.sha256(content_of(training, number)).digest()


def uri_template(training: str) -> str:
    """Of numbered documents."""
    return f"s3://chaos/{training}/{{n}}"


def named_by(uri: str) -> tuple[str, int]:
    """Training and number in a URI made from the template."""
    _, training, number = uri.rsplit("/", 2)
    return training, int(number)
