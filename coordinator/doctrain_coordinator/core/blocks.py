"""Results as workers report them: checked before they reach a transaction, so that one bad row fails nobody else.

Postgres refuses NUL in text and times out of range; either would fail the whole group commit.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    end = shard_first + shard_count
    if len(block.started) != len(block.took):
        return "its columns differ in length"
    if block.started and not (shard_first <= block.first and block.last < end):
        return "it reaches beyond its shard"
    if not _EARLIEST_MS <= block.base_ms <= _LATEST_MS:
        return "its base time is out of range"
    places = len(block.started)
    for failure in block.failed:
        if not 0 <= failure.ordinal - block.first < places or block.started[failure.ordinal - block.first] < 0:
            return "a failure has no place in its columns"
        if not 0 <= failure.error_class <= _LARGEST_CLASS:
            return "a failure is of no known class"
    if any(not 0 <= ordinal - block.first < places for ordinal, _ in block.tries):
        return "a count of tries has no place in its columns"
    if any(not shard_first <= o < end for o in block.running):
        return "a running document is not of its shard"
    return None


def without_results(block: Block) -> Block:
    """The block with every result turned into a failure that any database can store."""
    failures = [Failure(o, 2, "UNRECORDABLE", "The result could not be stored as the worker sent it.") for o in block.reported()]
    return replace(block, failed=failures, took=[0] * len(block.took), tries=())


def clean(text: str) -> str:
    """Text as Postgres takes it."""
    return text.replace("\x00", "\ufffd")[:MAX_ERROR_LENGTH]
