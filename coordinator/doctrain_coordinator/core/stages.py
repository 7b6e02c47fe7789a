"""The stages of documents as they are stored: JSON that any database can store, whatever a worker said.

Those that a document passed stand beside it; those of documents that have run for a while beside their shard, with when their try began.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from doctrain_mesh.shown import printable
from doctrain_mesh.stages import MOST_UNREAD_LETTERS

MOST_DOCUMENTS = 32
MOST_STAGES = 32
MOST_COUNTS = 16
MOST_LETTERS = 64
"""Of a name."""
MOST_BYTES = 4_096
"""Of one document's stages as they are stored: several times what a document passes."""
MOST_BYTES_UNDER_WAY = 8_192
"""Of what is stored beside a shard."""
MOST_COUNTED = 10**12
"""By one stage: no sum over a tenant's documents overflows."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; ``start_ms`` is after the document's try began. ``unread``: parts that could not be read, and why."""

    name: str
    start_ms: int
    took_ms: int
    counts: Mapping[str, int]
    unread: str = ""


def stored(stages: Iterable[Stage]) -> str:
    """The first stages as JSON, with what of them is within bounds; what is beyond is not looked at."""
    return _array((json.dumps(_row(stage), separators=(",", ":")) for stage in islice(stages, MOST_STAGES)), MOST_BYTES)


def _array(elements: Iterable[str], most_bytes: int) -> str:
    """As many of the elements, which are JSON in ASCII, as have room."""
    kept, size = list[str](), len("[]")
    for element in elements:
        size += len(element) + len(",")
        if size > most_bytes:
            break
        kept.append(element)
    return f"[{','.join(kept)}]"


def _row(stage: Stage) -> list[object]:
    counts = {_name(name): min(max(0, count), MOST_COUNTED) for name, count in sorted(islice(stage.counts.items(), MOST_COUNTS))}
    row = [_name(stage.name), max(0, stage.start_ms), max(0, stage.took_ms), dict(sorted(counts.items()))]
    return [*row, printable(stage.unread[:MOST_UNREAD_LETTERS])] if stage.unread else row


def _name(said: str) -> str:
    return printable(said[:MOST_LETTERS])


def restored(text: str | None) -> Iterator[Stage]:
    """What ``stored`` was given; nothing where nothing was stored."""
    for row in json.loads(text) if text else ():
        yield Stage(*row)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A document that has run for a while: when its try began, in milliseconds since the Unix epoch, and its stages so far."""

    began_ms: int
    stages: list[Stage] = field(default_factory=list)


def stored_under_way(documents: Iterable[tuple[int, int, str]]) -> str | None:
    """The first documents: ordinal, when their try began, and their stages as ``stored`` made them. None when there are none."""
    rows = _array(
        (f"[{ordinal},{began_ms},{stages}]" for ordinal, began_ms, stages in islice(documents, MOST_DOCUMENTS)), MOST_BYTES_UNDER_WAY
    )
    return rows if rows != "[]" else None


def restored_under_way(text: str | None) -> dict[int, UnderWay]:
    """By ordinal, those that run of a JSON array of shards, each with the ordinals that run and what ``stored_under_way`` made."""
    shards = json.loads(text) if text else ()
    return {
        ordinal: UnderWay(began_ms, [Stage(*row) for row in stages])
        for running, documents in shards
        for ordinal, began_ms, stages in documents
        if ordinal in running
    }
