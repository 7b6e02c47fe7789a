"""The stages that a document passed, as they are stored beside it: JSON that any database can store, whatever a worker said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

MOST_STAGES = 32
MOST_COUNTS = 16
MOST_LETTERS = 64
"""Of a name."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; ``start_ms`` is after the document's try began."""

    name: str
    start_ms: int
    took_ms: int
    counts: Mapping[str, int]


def stored(stages: Iterable[Stage]) -> str:
    """The first stages as JSON, with what of them is within bounds."""
    return json.dumps([_row(stage) for stage in islice(stages, MOST_STAGES)], separators=(",", ":"))


def _row(stage: Stage) -> list[object]:
    counts = {name[:MOST_LETTERS]: count for name, count in islice(sorted(stage.counts.items()), MOST_COUNTS)}
    return [stage.name[:MOST_LETTERS], max(0, stage.start_ms), max(0, stage.took_ms), counts]


def restored(text: str | None) -> Iterator[Stage]:
    """What ``stored`` was given; nothing where nothing was stored."""
    for row in json.loads(text) if text else ():
        yield Stage(*row)
