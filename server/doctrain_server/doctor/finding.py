"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What came of a look; the value is how it is printed."""

    OK = "ok"
    UNKNOWN = "?"
    """It cannot be told from here, or there was nothing to look at; the sentence says what a person may see to."""
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is, what came of the look, and a sentence for a person: what is so, and what to do when it is not well."""

    subject: str
    verdict: Verdict
    sentence: str


def judged(subject: str, good: bool, sentence: str) -> Finding:
    """A finding that is well or not."""
    return Finding(subject, Verdict.OK if good else Verdict.BAD, sentence)
