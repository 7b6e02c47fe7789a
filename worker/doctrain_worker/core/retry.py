"""When a failure is tried again, and when so many fail that the shard is better handed back.

Each class of failure has a budget of its own. What is transient is tried again after a pause; a crash or a limit that was
reached is tried once more at once, in a fresh process, since a process that has read other documents may be to blame; what
is permanent is not tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

STORM_SECONDS = 15.0
LONGEST_STORM_SECONDS = 300.0
MOST_STORMS = 20
MOST_LONE_STORMS = 5


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


class Retries:
    """Counts one shard's failures by document and class. ``policies`` has a policy for each class that is tried again."""

    def __init__(self, policies: Mapping[int, RetryPolicy]) -> None:
        self._policies = policies
        self._failures: dict[tuple[int, int], int] = {}

    def pause(self, ordinal: int, error_class: int, retry_after: float, random: float) -> float | None:
        """Notes a failure and answers the seconds before the next try; None when there is none. ``random`` is in [0, 1)."""
        policy = self._policies.get(error_class)
        if policy is None:
            return None
        failures = self._failures[ordinal, error_class] = self._failures.get((ordinal, error_class), 0) + 1
        return policy.pause(failures, retry_after, random)


def storm_pause(number: int, *, lone: bool = False) -> float | None:
    """Seconds for which a shard is handed back when its documents fail transiently, by its dispatch number.

    Longer each time, five minutes at most; None from the 21st dispatch on, an hour later: then its documents are judged by
    their own tries, so that a training whose source never comes back ends all the same. ``lone``: so few documents failed
    that they may be at fault themselves; then None from the sixth dispatch on, four minutes later.
    """
    most = MOST_LONE_STORMS if lone else MOST_STORMS
    return None if number > most else min(LONGEST_STORM_SECONDS, STORM_SECONDS * number)


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
