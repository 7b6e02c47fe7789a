"""When a transient failure is tried again, and when so many fail that the shard is better handed back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

STORM_SECONDS = 15.0
LONGEST_STORM_SECONDS = 300.0
MOST_STORMS = 20


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``most`` tries in all; the pause doubles from ``base`` to ``longest`` seconds, with full jitter."""

    most: int = 4
    base: float = 0.5
    longest: float = 30.0

    def pause(self, tries: int, retry_after: float, random: float) -> float | None:
        """Seconds before the next try after ``tries`` of them; None when they are used up. ``random`` is in [0, 1)."""
        if tries >= self.most:
            return None
        return retry_after + random * min(self.longest, self.base * 2.0**tries)


def storm_pause(number: int) -> float | None:
    """Seconds for which a shard is handed back when most of its documents fail transiently, by its dispatch number.

    Longer each time, five minutes at most; None from the 21st dispatch on, an hour later: then its documents are judged by
    their own tries, so that a training whose source never comes back ends all the same.
    """
    return None if number > MOST_STORMS else min(LONGEST_STORM_SECONDS, STORM_SECONDS * number)


class Weather:
    """Whether a dependency seems to be down: of the last outcomes of a shard, most were transient failures."""

    def __init__(self, seen: int = 10, bad: int = 8) -> None:
        self._last: deque[bool] = deque(maxlen=seen)
        self._bad = bad

    def note(self, *, transient: bool) -> None:
        """An outcome."""
        self._last.append(transient)

    @property
    def noted(self) -> bool:
        """Whether there was a transient failure at all."""
        return bool(self._last)

    @property
    def stormy(self) -> bool:
        """Whether the shard should be handed back for a while."""
        return sum(self._last) >= self._bad
