"""Which shards make room for another training of their own tenant, when its plan allows no more at once.

A training that comes behind a large one of the same tenant gets its first slots within moments, and of trainings that are more than the
tenant's shards each has its turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

KEPT_SECONDS = 10.0
"""For so long the only shard of a training is left to it."""


@dataclass(frozen=True, slots=True)
class TurnHolder:
    """A shard that runs and has documents to start, counted for a ``width`` of slots, and for how long it has been seen so."""

    tenant: int
    training: int
    shard: int
    number: int
    width: int
    seconds: float


def choose(running: Sequence[TurnHolder]) -> list[tuple[int, int]]:
    """The shards that make room, one of each tenant at most, as (shard, number), sorted, given those of tenants that are held back.

    It is of the training with the most slots the one that ran longest.
    """
    slots, shards = Counter[int](), Counter[int]()
    for one in running:
        slots[one.training] += one.width
        shards[one.training] += 1
    chosen: dict[int, TurnHolder] = {}
    for one in sorted(running, key=lambda one: (slots[one.training], one.seconds, -one.shard)):
        if shards[one.training] > 1 or one.seconds >= KEPT_SECONDS:
            chosen[one.tenant] = one
    return sorted((one.shard, one.number) for one in chosen.values())
