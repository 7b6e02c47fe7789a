"""How a training is cut into shards: large ones first, for the messages they save, small ones last, so that all lanes end together.

Each shard takes its part of half of what is left ("factoring", Hummel, Schonberg and Flynn, CACM 35(8), 1992): equal ones leave
most lanes idle while the last few run.
"""

from __future__ import annotations

from collections.abc import Iterator

SMALLEST = 10
LARGEST = 500
LARGEST_OF_MANY = 1_000
MANY = 100_000
ROUNDS = 16
"""No shard is smaller than a lane's share over so many: below that, what a shard costs outweighs what it levels out."""
DEFAULT_LANES = 12


def cut(first: int, count: int, *, expected: int, lanes: int) -> Iterator[tuple[int, int]]:
    """(first, count) of each shard of the ``count`` documents from ordinal ``first`` on.

    ``expected`` is about how many the whole training has, ``lanes`` how many shards may run at once (0: not known yet).
    """
    end, lanes = first + count, lanes or DEFAULT_LANES
    expected = max(expected, end)
    largest = LARGEST_OF_MANY if expected >= MANY else LARGEST
    smallest = min(largest, max(SMALLEST, expected // (ROUNDS * lanes)))
    while first < end:
        size = min(largest, max(smallest, (expected - first) // (2 * lanes)))
        size = min(size, end - first)
        yield first, size
        first += size
