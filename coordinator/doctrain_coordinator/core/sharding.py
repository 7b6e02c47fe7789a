"""How a training is cut into shards: enough that all lanes are busy to the end, few enough that messages stay cheap."""

from __future__ import annotations

from collections.abc import Iterator

SMALLEST = 10
LARGEST = 500
LARGEST_OF_MANY = 1_000
MANY = 100_000
DEFAULT_LANES = 12


def shard_size(documents: int, lanes: int) -> int:
    """Documents a shard, for a training of about so many on so many lanes (0: not known yet)."""
    if documents >= MANY:
        return LARGEST_OF_MANY
    return max(SMALLEST, min(LARGEST, documents // (4 * (lanes or DEFAULT_LANES))))


def cut(first: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of each shard of ``count`` documents from ordinal ``first`` on."""
    for start in range(first, first + count, size):
        yield start, min(size, first + count - start)
