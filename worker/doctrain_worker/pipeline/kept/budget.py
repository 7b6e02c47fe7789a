"""How much may be kept of one document."""

from __future__ import annotations

MOST_SLICE_BYTES = 512 << 10
MOST_BYTES = 32 << 20
"""Of one document."""


class Budget:
    """What one document has left of it, in bytes: what was found counts, and what is kept beside."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def allows(self, size: int) -> bool:
        """Whether so many more may be kept."""
        return size <= self._left

    def spend(self, size: int) -> None:
        """Spends so many more."""
        self._left -= size
