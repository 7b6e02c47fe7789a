"""The results of one hold of a shard: as they gather, as the columns of a report, and until they are answered.

An ended document holds its slot until its result is answered, but for one report batch: what ended in the last 25 ms, at
most 512 of a shard. To wait for every answer would cap a lane near 1,000 documents a second, to wait for none would repeat
more than a batch after a crash.

Times are seconds of one clock, passed in; in columns they are whole milliseconds since the hold began.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

BATCH_SECONDS = 0.025
MOST = 512


@dataclass(frozen=True, slots=True)
class FailedResult:
    """Why one document failed; ``error_class`` is a number of ``doctrain.v1.ErrorClass``."""

    ordinal: int
    error_class: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of one document; ``start_ms`` is after its try began, ``counts`` are what it did, such as ``pages``.

    ``unread``: parts that could not be read, and why.
    """

    name: str
    start_ms: int
    took_ms: int
    counts: Mapping[str, int]
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Dense columns: place i is the document ``first + i``; -1 in ``started`` where there is no result."""

    first: int
    started: list[int]
    took: list[int]
    failed: list[FailedResult]
    tries: list[tuple[int, int]]
    passed: list[tuple[int, Sequence[Stage]]] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)


class Results:
    """The results of a hold that began at ``began``; its length is how many are unanswered."""

    __slots__ = ("_began", "_ended", "_failed", "_ordinals", "_passed", "_sent", "_started", "_tries", "_unchanged")

    def __init__(self, began: float) -> None:
        self._began = began
        self._ordinals: list[int] = []
        self._started: list[float] = []
        self._ended: list[float] = []
        self._failed: list[FailedResult] = []
        self._tries: list[tuple[int, int]] = []
        self._passed: list[tuple[int, Sequence[Stage]]] = []
        self._unchanged: list[int] = []
        self._sent: dict[int, Sequence[float]] = {}

    def add(
        self,
        ordinal: int,
        started: float,
        ended: float,
        tries: int = 1,
        failed: FailedResult | None = None,
        *,
        passed: Sequence[Stage] = (),
        unchanged: bool = False,
    ) -> None:
        """A document ended for good, having passed those stages."""
        self._ordinals.append(ordinal)
        self._started.append(started)
        self._ended.append(ended)
        if tries > 1:
            self._tries.append((ordinal, tries))
        if failed is not None:
            self._failed.append(failed)
        if passed:
            self._passed.append((ordinal, passed))
        if unchanged:
            self._unchanged.append(ordinal)

    @property
    def gathered(self) -> int:
        """How many there are to send."""
        return len(self._ordinals)

    def take(self, sequence: int) -> Columns:
        """All that gathered, to be sent under that number."""
        ordinals, starts, ends, failed, tries = self._ordinals, self._started, self._ended, self._failed, self._tries
        if not ordinals:
            return Columns(0, [], [], [], [])
        passed, self._passed = self._passed, []
        unchanged, self._unchanged = self._unchanged, []
        self._ordinals, self._started, self._ended, self._failed, self._tries = [], [], [], [], []
        self._sent[sequence] = ends
        began = self._began
        started = [int((start - began) * 1000) for start in starts]
        took = [int((end - start) * 1000) for end, start in zip(ends, starts, strict=True)]
        first, last = min(ordinals), max(ordinals)
        if ordinals != list(range(first, last + 1)):
            started, took = _dense(ordinals, started, first, last, -1), _dense(ordinals, took, first, last, 0)
        return Columns(first, started, took, failed, tries, passed, unchanged)

    def answered(self, sequence: int) -> None:
        """What was sent under that number is answered; said twice, it counts once."""
        self._sent.pop(sequence, None)

    def __len__(self) -> int:
        return sum(map(len, self._sent.values())) + len(self._ordinals)

    @property
    def room(self) -> int:
        """Documents that may end before the batch is full."""
        return MOST - len(self)

    def leaves_slot(self, now: float, free: int) -> bool:
        """Whether one of ``free`` slots, in which nothing runs, is not held by a result either."""
        if self.room <= 0:
            return False
        for end in self._ends():
            if free <= 0 or now - end <= BATCH_SECONDS:
                break
            free -= 1
        return free > 0

    def _ends(self) -> Iterator[float]:
        """When the unanswered documents ended, the oldest first."""
        for ends in self._sent.values():
            yield from ends
        yield from self._ended


def _dense(ordinals: Sequence[int], values: Sequence[int], first: int, last: int, missing: int) -> list[int]:
    column = [missing] * (last - first + 1)
    for ordinal, value in zip(ordinals, values, strict=True):
        column[ordinal - first] = value
    return column
