"""Whose beat stands still: leases by the observer's own monotonic clock, and when a loss is nobody's fault.

No timestamp of another machine is compared. A gap in the observer's own sight makes every lease that it falls into
uncharged; so does the loss of a large part of the fleet at once (PROTOCOL "Charge").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
    """Tells when at least ``least`` sessions and more than ``share`` of the fleet went within ``window`` seconds.

    The window is exact: a document that kills one worker after another does so more slowly than that, because each loss
    is followed by a second of grace, and must not pass for a power cut.
    """

    def __init__(self, window: float = 2.0, least: int = 3, share: float = 1 / 3, memory: float = 60.0) -> None:
        self._window, self._least, self._share, self._memory = window, least, share, memory
        self._gone: dict[int, float] = {}

    def note(self, now: float, session: int) -> None:
        """A session was seen to go; what is said again soon after counts as of the first time."""
        self._gone = {known: at for known, at in self._gone.items() if now - at <= self._memory}
        if now - self._gone.get(session, float("-inf")) > 2 * self._window:
            self._gone[session] = now

    def excuses(self, session: int, live: Collection[int]) -> bool:
        """Whether that session's loss is the fleet's, not a document's; ``live`` are sessions that Postgres has as live."""
        if session not in self._gone:
            return False
        at = self._gone[session]
        near = {known: other for known, other in self._gone.items() if abs(other - at) <= self._window}
        starts = [other for other in near.values() if other <= at]
        lost = max(sum(1 for other in near.values() if start <= other <= start + self._window) for start in starts)
        return lost >= self._least and lost > len(near.keys() | set(live)) * self._share
