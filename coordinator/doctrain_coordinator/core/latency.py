"""How long it takes lately to get something done that is done again and again, one after the other."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0


class Latency:
    """Times are seconds of one monotonic clock. What is under way counts as soon as it has taken longer than what ended."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, float]] = deque(maxlen=1000)
        self._began: float | None = None

    def began(self, now: float) -> None:
        """Something is tried, perhaps once more."""
        if self._began is None:
            self._began = now

    def ended(self, now: float) -> None:
        """Notes that it is done."""
        if self._began is not None:
            self._ended.append((now, now - self._began))
        self._began = None

    def lately(self, now: float) -> float | None:
        """Seconds that it took in the mean of the last ``WINDOW_SECONDS``; None: nothing was tried in them."""
        took = [seconds for ended, seconds in self._ended if now - ended <= WINDOW_SECONDS]
        mean = sum(took) / len(took) if took else None
        if self._began is None:
            return mean
        return max(mean or 0.0, now - self._began)
