"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is, whether it is well, and a sentence for a person: what is so, and what to do when it is not well."""

    subject: str
    good: bool
    sentence: str
