"""Whose beat stands still: leases by the observer's own monotonic clock (docs/protocol.md, "Take-back", "Charge").

No timestamp of another machine is compared. A gap in the observer's own sight makes every lease that it falls into uncharged.
"""

from __future__ import annotations

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
