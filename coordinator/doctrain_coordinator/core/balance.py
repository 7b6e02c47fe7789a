"""Which shards go on at another worker, so that nobody stands idle beside one that has everything.

A worker that joins, or comes back, finds the shards at those that were there before: within a tenant's limit nothing may be left to
grant. Then shards of the fuller workers hand back what is left of them, and the queue gives it to whoever has lanes. What was told to do so
counts as gone there already: its documents in flight may take minutes to end, and what more is to move need not wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SETTLED_SECONDS = 10.0
"""For so long a shard is left where it began."""


@dataclass(frozen=True, slots=True)
class ShardInLane:
    """A shard in a lane with so many documents ``left`` to start, seen there for so long; ``yields``: it was told to go."""

    shard: int
    number: int
    left: int
    seconds: float
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that takes new shards, with the shards in its lanes."""

    lanes: int
    running: Sequence[ShardInLane]


def balance(workers: Sequence[Worker]) -> list[tuple[int, int]]:
    """Shards as (shard, number) that are to yield; sorted.

    One after the other is moved, in thought, from the worker that has the most for its lanes to the one that has the least, the shard with
    the most left first, as long as the one has no less than the other afterwards. So two workers of one size never differ by more than one,
    and nothing is moved to and fro. Those that yield already went to whoever had the least, before any other.
    """
    counts = [sum(not one.yields for one in worker.running) for worker in workers]
    for _ in range(sum(one.yields for worker in workers for one in worker.running)):
        counts[_emptiest(workers, counts)] += 1
    movable = [_movable(worker) for worker in workers]
    moved: list[tuple[int, int]] = []
    while givers := [place for place, shards in enumerate(movable) if shards]:
        giver = max(givers, key=lambda place: counts[place] / workers[place].lanes)
        taker = _emptiest(workers, counts)
        if (counts[giver] - 1) / workers[giver].lanes < (counts[taker] + 1) / workers[taker].lanes:
            break
        shard = movable[giver].pop()
        moved.append((shard.shard, shard.number))
        counts[giver] -= 1
        counts[taker] += 1
    return sorted(moved)


def _emptiest(workers: Sequence[Worker], counts: Sequence[int]) -> int:
    """The place of the worker that would have the least with one more."""
    return min(range(len(workers)), key=lambda place: (counts[place] + 1) / workers[place].lanes)


def _movable(worker: Worker) -> list[ShardInLane]:
    """The one to move first is the last."""
    settled = (one for one in worker.running if one.seconds >= SETTLED_SECONDS and not one.yields)
    return sorted(settled, key=lambda one: (one.left, -one.shard))
