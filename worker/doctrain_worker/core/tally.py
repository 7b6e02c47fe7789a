"""What became of the tries that ended in this worker, counted since its boot and by the minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """Counts that only grow.

    Attributes:
        done: documents that ended well.
        failed: documents that ended FAILED.
        missed: tries that failed, the last of a failed document's included.
        broken: of those, tries that crashed or reached a limit of time, memory or space.
    """

    done: int = 0
    failed: int = 0
    missed: int = 0
    broken: int = 0

    def copy(self) -> Tally:
        """A copy of it as it stands."""
        return Tally(self.done, self.failed, self.missed, self.broken)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of the last minute.

    Documents that ended a second, tries that ended, and the share of these that broke, None without any.
    """

    documents_per_second: float
    tries: int
    failure_share: float | None


class Minute:
    """The tally over the last minute. Times are seconds of one monotonic clock."""

    def __init__(self, now: float, tally: Tally) -> None:
        self._seen = deque([(now, tally.copy())])

    def rates(self, now: float, tally: Tally) -> Rates:
        """The rates as of now; ask again and again, in the order of time."""
        self._seen.append((now, tally.copy()))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        documents = tally.done + tally.failed - before.done - before.failed
        tries = tally.done + tally.missed - before.done - before.missed
        share = (tally.broken - before.broken) / tries if tries else None
        return Rates(documents / max(now - since, 0.001), tries, share)
