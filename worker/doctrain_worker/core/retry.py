"""What becomes of a failure: it stands, the document is tried again, or so many fail that the shard is better handed back.

Each class of failure has a budget of its own. What is transient is tried again after a pause; a crash or a limit that was
reached is tried once more at once, in a fresh process, since a process that has read other documents may be to blame; what
is permanent is not tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

COOL_DOWN_SECONDS = 15.0
LONGEST_COOL_DOWN_SECONDS = 300.0
MOST_COOL_DOWNS = 20
MOST_LONE_COOL_DOWNS = 5


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


class CircuitBreaker:
    """Open when a dependency seems to be down: of the last outcomes of a shard, most were transient failures."""

    def __init__(self, seen: int = 10, bad: int = 8) -> None:
        self._last: deque[bool] = deque(maxlen=seen)
        self._bad = bad

    def note(self, *, transient: bool) -> None:
        """An outcome."""
        self._last.append(transient)

    @property
    def noted(self) -> bool:
        """Whether there was a failure at all."""
        return bool(self._last)

    @property
    def open(self) -> bool:
        """Whether the shard should be handed back for a while."""
        return sum(self._last) >= self._bad


def cool_down(before: int, *, lone: bool = False) -> float | None:
    """Seconds for which a shard is handed back when its documents fail transiently, after so many cool-downs one after the other.

    Longer each time, five minutes at most; None after twenty, an hour later: then its documents are judged by their own
    tries, so that a training whose source never comes back ends all the same. ``lone``: so few documents failed that they
    may be at fault themselves; then None after five, four minutes later.
    """
    most = MOST_LONE_COOL_DOWNS if lone else MOST_COOL_DOWNS
    return None if before >= most else min(LONGEST_COOL_DOWN_SECONDS, COOL_DOWN_SECONDS * (before + 1))


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The document is tried again after that time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HandBack:
    """The document stays open, and its shard is handed back for that time."""

    seconds: float


class Failures:
    """The failures of one hold of a shard. ``policies`` has a policy for each class that is tried again.

    ``cool_downs``: how often its holders before handed it back for a while, one after the other.
    ``attentive``: successes are to be told (``succeeded``); while nothing fails, one is enough.
    """

    def __init__(self, policies: Mapping[int, RetryPolicy], cool_downs: int) -> None:
        self._policies, self._cool_downs = policies, cool_downs
        self._breaker = CircuitBreaker()
        self._by_class: dict[tuple[int, int], int] = {}
        self._by_document: dict[int, int] = {}
        self._succeeded = False
        self.attentive = True

    def succeeded(self) -> None:
        """A document did not fail."""
        self._succeeded = True
        self.attentive = self._breaker.noted
        if self.attentive:
            self._breaker.note(transient=False)

    def tries(self, ordinal: int) -> int:
        """Which try of the document runs now, or would next."""
        return self._by_document.get(ordinal, 0) + 1 if self._by_document else 1

    def failed(self, ordinal: int, error_class: int, *, transient: bool, retry_after: float, random: float) -> TryAgain | HandBack | None:
        """What becomes of a failure; None when it stands. ``random`` is in [0, 1)."""
        self.attentive = True
        self._breaker.note(transient=transient)
        self._by_document[ordinal] = self._by_document.get(ordinal, 0) + 1
        if transient and self._breaker.open and (seconds := cool_down(self._cool_downs)) is not None:
            return HandBack(seconds)
        policy = self._policies.get(error_class)
        if policy is None:
            return None
        failures = self._by_class[ordinal, error_class] = self._by_class.get((ordinal, error_class), 0) + 1
        pause = policy.pause(failures, retry_after, random)
        if pause is not None:
            return TryAgain(pause)
        if transient and not self._succeeded and (seconds := cool_down(self._cool_downs, lone=True)) is not None:
            return HandBack(seconds)
        return None


def after_trial(cool_downs: int, pause: float) -> float:
    """Seconds for which a shard goes back when a document that was tried alone is to be tried again after ``pause`` seconds.

    Nothing else of the worker runs during a trial, so it does not wait out a pause: 0 when there is none, and after the
    last cool-down, when the tries that are left are made at once.
    """
    seconds = cool_down(cool_downs)
    return max(pause, seconds) if pause > 0 and seconds is not None else 0.0
