"""Results as workers report them: mended before they reach a transaction, so that one bad row fails nobody else.

Postgres refuses times out of range, which would fail the whole group commit. And a block that was refused whole would leave its
documents open while its worker thinks them recorded: the shard would run for ever.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import hypot

from doctrain_coordinator.core.states import ErrorClass

DAY_MS = 24 * 60 * 60 * 1000
MOST_TRIES = 300
"""Of one document in one hold: of three classes of failures a worker may be set to try each a hundred times."""
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
    """Results of one shard in columns: place i is the document ``first + i``; ``started[i]`` is -1 where there is none.

    ``passed`` are documents' stages, as ``core.stages.stored`` makes them. ``under_way`` likewise, with when, in milliseconds after
    ``base_ms``, the try of a running document began; None when nothing is said of them.
    """

    first: int
    base_ms: int
    started: Sequence[int]
    took: Sequence[int]
    failed: Sequence[Failure] = ()
    running: Sequence[int] = ()
    tries: Sequence[tuple[int, int]] = field(default=())
    passed: Sequence[tuple[int, str]] = ()
    unchanged: Sequence[int] = ()
    under_way: Sequence[tuple[int, int, str]] | None = None

    @property
    def last(self) -> int:
        """Ordinal of the last place."""
        return self.first + len(self.started) - 1

    def reported(self) -> list[int]:
        """The ordinals that the block holds results of."""
        return [self.first + i for i, at in enumerate(self.started) if at >= 0]


@dataclass(frozen=True, slots=True)
class Mended:
    """A block as it can be recorded.

    Args:
        block: what of it is of the shard; a result that is unsound is a failure in it.
        faults: what was wrong, in words; nothing for most blocks.
        invalid: ordinals of the shard whose result was unsound.
        foreign: whether something in it was not of the shard at all.
    """

    block: Block
    faults: Sequence[str] = ()
    invalid: Sequence[int] = ()
    foreign: bool = False


def mended(block: Block, first: int, count: int, *, now_ms: int) -> Mended:
    """The block as results of the ``count`` documents from ``first`` on.

    What a worker's clock says does not decide whether its results count: a time that is a day or more from ``now_ms`` is
    replaced, so that what ended last ended just now. So is a try that ended a day or more ahead, and no number counts for more than
    it can be.
    """
    faults = list(_faults(block, first, first + count))
    mend = _rebuilt(block, first, first + count, faults) if faults else Mended(block)
    if abs(mend.block.base_ms - now_ms) >= DAY_MS:
        longest = max((at + took for at, took in zip(mend.block.started, mend.block.took, strict=True) if at >= 0), default=0)
        timed = replace(mend.block, base_ms=now_ms - min(max(longest, 0), DAY_MS - 1))
        mend = replace(mend, block=timed, faults=[*mend.faults, "its clock is wrong by a day or more"])
    if _is_bounded(mend.block, now_ms - mend.block.base_ms + DAY_MS):
        return mend
    bounded = _bounded(mend.block, now_ms - mend.block.base_ms)
    if bounded == mend.block:
        return mend
    return replace(mend, block=bounded, faults=[*mend.faults, "its times or its tries are beyond what there can be"])


def _faults(block: Block, start: int, end: int) -> Iterator[str]:
    places = len(block.started)
    if places != len(block.took):
        yield "its columns differ in length"
    if places and not (start <= block.first and block.last < end):
        yield "it reaches beyond its shard"
    if any(not 0 <= o - block.first < places or block.started[o - block.first] < 0 for o in (f.ordinal for f in block.failed)):
        yield "a failure has no place in its columns"
    if any(not 0 <= failure.error_class <= _LARGEST_CLASS for failure in block.failed):
        yield "a failure is of no known class"
    told = (*(ordinal for ordinal, _ in (*block.tries, *block.passed)), *block.unchanged)
    if any(not 0 <= ordinal - block.first < places for ordinal in told):
        yield "tries, stages or no change are told of a document that has no place in its columns"
    if any(not start <= ordinal < end for ordinal in block.running):
        yield "a running document is not of its shard"
    if len(set(block.running)) < len(block.running):
        yield "a running document is named twice"
    if max(map(len, (block.failed, block.tries, block.passed, block.unchanged))) > places:
        yield "it says more of its documents than it has places"


def _rebuilt(block: Block, start: int, end: int, faults: Sequence[str]) -> Mended:
    failures = {failure.ordinal: failure for failure in block.failed}
    reported = set(block.reported())
    results = {o for o in reported | failures.keys() if start <= o < end}
    timed = {
        o: (block.started[o - block.first], block.took[o - block.first]) for o in results & reported if o - block.first < len(block.took)
    }
    invalid = {o for o in results if o not in timed or (o in failures and not 0 <= failures[o].error_class <= _LARGEST_CLASS)}
    whole = range(min(results), max(results) + 1) if results else range(start, start)
    times = [timed.get(o, (0, 0)) if o in results else (-1, -1) for o in whole]
    kept = Block(
        whole.start,
        block.base_ms,
        [at for at, _ in times],
        [took for _, took in times],
        [failure for o, failure in failures.items() if o in results],
        sorted({o for o in block.running if start <= o < end}),
        [(o, n) for o, n in dict(block.tries).items() if o in results],
        [(o, stages) for o, stages in dict(block.passed).items() if o in results],
        sorted({o for o in block.unchanged if o in results}),
    )
    return Mended(without_results(kept, invalid), faults, sorted(invalid), foreign=results != reported | failures.keys())


def _is_bounded(block: Block, late: int) -> bool:
    """Whether every try took its time and ended before ``late``, and none has a number that it cannot have; in doubt it is not.

    All results pass through here: an array that takes no sign, a sum and a length are bounds in a third of the time of ``min`` and ``max``.
    """
    try:
        array("I", block.took)
    except OverflowError:
        return False
    return (
        hypot(*block.started) + sum(block.took) < late
        and (not block.tries or all(1 <= tries <= MOST_TRIES for _, tries in block.tries))
        and (not block.under_way or all(0 <= at < late for _, at, _ in block.under_way))
    )


def _bounded(block: Block, now: int) -> Block:
    """The block, at ``now`` of its own time, with each number of it that cannot be replaced by the next one that can."""
    late, now = now + DAY_MS, max(now, 0)
    started, took = list(block.started), list(block.took)
    for place, (at, length) in enumerate(zip(started, took, strict=True)):
        if at >= 0 and (length < 0 or at + length >= late):
            started[place] = min(at, now)
            took[place] = min(max(length, 0), now - started[place])
    return replace(
        block,
        started=started,
        took=took,
        tries=[(o, min(max(tries, 1), MOST_TRIES)) for o, tries in block.tries],
        under_way=block.under_way and [(o, at if 0 <= at < late else min(max(at, 0), now), stages) for o, at, stages in block.under_way],
    )


def halves(block: Block) -> tuple[Block, Block]:
    """The block's first results and its last, as two blocks; it has two or more."""
    reported = block.reported()
    middle = reported[len(reported) // 2]
    return _part(block, block.first, middle), _part(block, middle, block.last + 1)


def _part(block: Block, start: int, end: int) -> Block:
    places = slice(start - block.first, end - block.first)
    return replace(
        block,
        first=start,
        started=block.started[places],
        took=block.took[places],
        failed=[failure for failure in block.failed if start <= failure.ordinal < end],
        tries=[(o, n) for o, n in block.tries if start <= o < end],
        passed=[(o, stages) for o, stages in block.passed if start <= o < end],
        unchanged=[o for o in block.unchanged if start <= o < end],
    )


def without_results(block: Block, ordinals: Collection[int]) -> Block:
    """The block with the results of ``ordinals`` turned into failures that any database can store."""
    failures = [Failure(o, ErrorClass.PERMANENT, "UNRECORDABLE", "The result could not be stored as the worker sent it.") for o in ordinals]
    kept = [failure for failure in block.failed if failure.ordinal not in ordinals]
    took = [0 if block.first + i in ordinals else took for i, took in enumerate(block.took)]
    return replace(
        block,
        failed=[*kept, *failures],
        took=took,
        tries=[(o, n) for o, n in block.tries if o not in ordinals],
        passed=[(o, stages) for o, stages in block.passed if o not in ordinals],
        unchanged=[o for o in block.unchanged if o not in ordinals],
    )
