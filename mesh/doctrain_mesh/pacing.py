"""When a batch goes out, of results or of commits: seldom enough to be large, at once where somebody waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds. ``credit`` urgent commits may follow each other without the ``gap``; each gap earns one back."""

    gap: float = 0.005
    patience: float = 0.005
    enough: int = 64
    credit: int = 4


class Pacer:
    """Decides from the clock that is passed in; holds no timer."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._credit = float(pace.credit)
        self._last = float("-inf")

    def wait(self, now: float, *, waiting: int, oldest: float, urgent: bool) -> float:
        """Seconds until a commit of the ``waiting`` items, the first of which came at ``oldest``, should start."""
        credit = self._credit_at(now)
        if urgent and credit >= 1:
            return 0.0
        ready = self._last + self._pace.gap
        if waiting < self._pace.enough and not urgent:
            ready = max(ready, oldest + self._pace.patience)
        return max(0.0, ready - now)

    def started(self, now: float) -> None:
        """A commit starts."""
        self._credit = max(0.0, self._credit_at(now) - 1)
        self._last = now

    def _credit_at(self, now: float) -> float:
        if self._last == float("-inf"):
            return self._credit
        return min(self._pace.credit, self._credit + (now - self._last) / self._pace.gap)
