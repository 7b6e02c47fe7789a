"""Whose beat stands still: leases by the observer's own monotonic clock, and when a loss is nobody's fault.

No timestamp of another machine is compared. A gap in the observer's own sight makes every lease that it falls into
uncharged; so does the loss of a large part of the fleet at once (PROTOCOL "Charge").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sighting:
    """A session's counters as Postgres showed them."""

    session: int
    beat: int
    attached: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """A session whose beat stood still for the lease, and whether its shards are charged for it."""

    sighting: Sighting
    charged: bool


@dataclass(slots=True)
class _Seen:
    sighting: Sighting
    since: float
    blind: bool = False


class Observer:
    """Watches sessions for one leader. ``lease`` and ``max_gap`` are in seconds of the ``now`` that is passed in."""

    def __init__(self, lease: float, max_gap: float) -> None:
        self._lease = lease
        self._max_gap = max_gap
        self._seen: dict[int, _Seen] = {}
        self._last: float | None = None

    def observe(self, now: float, sightings: Iterable[Sighting]) -> list[Lapse]:
        """Takes in what is live now; answers the sessions to take back. An answered one is answered again until gone."""
        blind = self._last is not None and now - self._last > self._max_gap
        self._last = now
        fresh: dict[int, _Seen] = {}
        for sighting in sightings:
            seen = self._seen.get(sighting.session)
            if seen is None or seen.sighting != sighting:
                seen = _Seen(sighting, now)
            elif blind:
                seen.blind = True
            fresh[sighting.session] = seen
        self._seen = fresh
        return [Lapse(s.sighting, not s.blind) for s in fresh.values() if now - s.since >= self._lease]


class MassLoss:
    """Tells when at least three sessions and more than a third of the fleet went within ``window`` seconds."""

    def __init__(self, window: float = 2.0, least: int = 3, share: float = 1 / 3) -> None:
        self._window, self._least, self._share = window, least, share
        self._losses: deque[tuple[float, int]] = deque()

    def note(self, now: float, session: int) -> None:
        """A session was seen to go."""
        if all(session != known for _, known in self._losses):
            self._losses.append((now, session))

    def excuses(self, now: float, live: int) -> bool:
        """Whether losses around ``now`` are the fleet's, not a document's; ``live`` counts the sessions that remain."""
        while self._losses and now - self._losses[0][0] > 2 * self._window:
            self._losses.popleft()
        lost = len(self._losses)
        return lost >= self._least and lost > (live + lost) * self._share
