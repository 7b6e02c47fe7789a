"""What the workers' own logs say ran at once."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any


def running(events: Iterable[Mapping[str, Any]]) -> set[int]:
    """The documents of one training that run now, by their ordinals."""
    ordinals: set[int] = set()
    for event in events:
        (ordinals.add if event["event"] == "start" else ordinals.discard)(event["ordinal"])
    return ordinals


def most_at_once(events: Iterable[Mapping[str, Any]], ordinals: Container[int] | None = None) -> int:
    """The most documents at once, or at a start of one of these."""
    now, most = 0, 0
    for event in events:
        now += 1 if event["event"] == "start" else -1
        if event["event"] == "start" and (ordinals is None or event["ordinal"] in ordinals):
            most = max(most, now)
    return most
