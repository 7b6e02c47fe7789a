"""Results as workers report them: checked before they reach a transaction, so that one bad row fails nobody else.

Postgres refuses NUL in text and times out of range; either would fail the whole group commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

MAX_ERROR_LENGTH = 2000
# 2000-01-01 and 2200-01-01 in milliseconds since the epoch.
_EARLIEST_MS, _LATEST_MS = 946_684_800_000, 7_258_118_400_000
# What the column of error classes holds: newer workers may know more of them than this coordinator.
_LARGEST_CLASS = 2**15 - 1


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one document failed; ``error_class`` is a number of ``doctrain.v1.ErrorClass``."""

    ordinal: int
    error_class: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Block:
    """Results of one shard in columns: place i is the document ``first + i``; ``started[i]`` is -1 where there is none."""

    first: int
    base_ms: int
    started: Sequence[int]
    took: Sequence[int]
    failed: Sequence[Failure] = ()
    running: Sequence[int] = ()
    tries: Sequence[tuple[int, int]] = field(default=())

    @property
    def last(self) -> int:
        """Ordinal of the last place."""
        return self.first + len(self.started) - 1

    def reported(self) -> list[int]:
        """The ordinals that the block holds results of."""
        return [self.first + i for i, at in enumerate(self.started) if at >= 0]


def fault(block: Block, shard_first: int, shard_count: int) -> str | None:
    """Why the block cannot be a result of that shard, or None."""
    return next(_faults(block, shard_first, shard_first + shard_count), None)


def _faults(block: Block, start: int, end: int) -> Iterator[str]:
    places = len(block.started)
    if places != len(block.took):
        yield "its columns differ in length"
    if places and not (start <= block.first and block.last < end):
        yield "it reaches beyond its shard"
    if not _EARLIEST_MS <= block.base_ms <= _LATEST_MS:
        yield "its base time is out of range"
    if any(not 0 <= o - block.first < places or block.started[o - block.first] < 0 for o in (f.ordinal for f in block.failed)):
        yield "a failure has no place in its columns"
    if any(not 0 <= failure.error_class <= _LARGEST_CLASS for failure in block.failed):
        yield "a failure is of no known class"
    if any(not 0 <= ordinal - block.first < places for ordinal, _ in block.tries):
        yield "a count of tries has no place in its columns"
    if any(not start <= ordinal < end for ordinal in block.running):
        yield "a running document is not of its shard"


def without_results(block: Block, ordinals: Collection[int]) -> Block:
    """The block with the results of ``ordinals`` turned into failures that any database can store."""
    failures = [Failure(o, 2, "UNRECORDABLE", "The result could not be stored as the worker sent it.") for o in ordinals]
    kept = [failure for failure in block.failed if failure.ordinal not in ordinals]
    took = [0 if block.first + i in ordinals else took for i, took in enumerate(block.took)]
    return replace(block, failed=[*kept, *failures], took=took, tries=[(o, n) for o, n in block.tries if o not in ordinals])


def clean(text: str) -> str:
    """Text as Postgres takes it."""
    return text.replace("\x00", "\ufffd")[:MAX_ERROR_LENGTH]
