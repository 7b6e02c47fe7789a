"""The results of a shard as they gather, and as the columns of a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailedResult:
    """Why one document failed; ``error_class`` is a number of ``doctrain.v1.ErrorClass``."""

    ordinal: int
    error_class: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Dense columns: place i is the document ``first + i``; -1 in ``started`` where there is no result."""

    first: int
    started: list[int]
    took: list[int]
    failed: list[FailedResult]
    tries: list[tuple[int, int]]
    count: int


class Results:
    """Gathers results between two reports. Times are whole milliseconds; ``started`` counts from the hold's base."""

    __slots__ = ("_failed", "_ordinals", "_started", "_took", "_tries")

    def __init__(self) -> None:
        self._ordinals: list[int] = []
        self._started: list[int] = []
        self._took: list[int] = []
        self._failed: list[FailedResult] = []
        self._tries: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._ordinals)

    def add(self, ordinal: int, started_ms: int, took_ms: int) -> None:
        """A document ended."""
        self._ordinals.append(ordinal)
        self._started.append(started_ms)
        self._took.append(took_ms)

    def fail(self, failed: FailedResult) -> None:
        """The document added last, or before, failed."""
        self._failed.append(failed)

    def tried(self, ordinal: int, tries: int) -> None:
        """The document took more than one try."""
        self._tries.append((ordinal, tries))

    def take(self) -> Columns:
        """All that gathered, as columns; starts over."""
        ordinals, started, took = self._ordinals, self._started, self._took
        failed, tries = self._failed, self._tries
        self._ordinals, self._started, self._took, self._failed, self._tries = [], [], [], [], []
        count = len(ordinals)
        if not count:
            return Columns(0, [], [], failed, tries, 0)
        first, last = min(ordinals), max(ordinals)
        if last - first + 1 == count and ordinals[0] == first and ordinals == list(range(first, last + 1)):
            return Columns(first, started, took, failed, tries, count)
        dense_started = [-1] * (last - first + 1)
        dense_took = [0] * (last - first + 1)
        for ordinal, at, lasted in zip(ordinals, started, took, strict=True):
            dense_started[ordinal - first] = at
            dense_took[ordinal - first] = lasted
        return Columns(first, dense_started, dense_took, failed, tries, count)
