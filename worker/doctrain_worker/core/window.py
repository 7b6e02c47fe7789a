"""Which documents of a shard may start: a sliding window over its open ordinals, with retries that wait their turn elsewhere.

Times are seconds of the ``now`` that is passed in. A document that waits for its next try holds no slot.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable


class Window:
    """Hands out ordinals in order, those whose retry is due first."""

    def __init__(self, ordinals: Iterable[int]) -> None:
        self._fresh = deque(ordinals)
        self._retries: list[tuple[float, int]] = []

    def ready(self, now: float) -> bool:
        """Whether ``take`` has one to hand out now."""
        return bool(self._fresh) or (bool(self._retries) and self._retries[0][0] <= now)

    def take(self, now: float) -> int | None:
        """The next ordinal to start; None when none may start now (see ``empty`` and ``next_due``)."""
        if self._retries and self._retries[0][0] <= now:
            return heapq.heappop(self._retries)[1]
        return self._fresh.popleft() if self._fresh else None

    def retry(self, ordinal: int, due: float) -> None:
        """The document is to be tried again at ``due``."""
        heapq.heappush(self._retries, (due, ordinal))

    @property
    def empty(self) -> bool:
        """Whether nothing is left to hand out, now or later."""
        return not (self._fresh or self._retries)

    @property
    def next_due(self) -> float | None:
        """When the next retry is due."""
        return self._retries[0][0] if self._retries else None
