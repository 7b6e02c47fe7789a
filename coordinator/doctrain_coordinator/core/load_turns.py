"""Which loads go on next: every tenant in turn, however many one of them has. All times are seconds of one monotonic clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class LoadTurn:
    """One load's turn.

    Args:
        began: when it did.
        seconds: how long it has while others wait.
        quiet_seconds: how long it has while it does not go on, whether others wait or not.
        fed: when it went on last; at first, when it began.
    """

    began: float
    seconds: float
    quiet_seconds: float
    fed: float = 0.0

    def __post_init__(self) -> None:
        self.fed = self.began

    def went_on(self, now: float) -> None:
        """Something was stored that is not blank."""
        self.fed = now

    @property
    def fruitless(self) -> bool:
        """Whether it did not go on in it."""
        return self.fed == self.began

    def over(self, now: float, *, crowded: bool) -> bool:
        """Whether it ends now; ``crowded``: others wait."""
        return (crowded and now - self.began >= self.seconds) or now - self.fed >= self.quiet_seconds


def choose(waiting: Iterable[tuple[int, int]], loading: Sequence[int], last: Mapping[int, float], free: int) -> list[tuple[int, int]]:
    """At most ``free`` of the (training, tenant) pairs that wait.

    The tenant with the fewest loads under way goes first (``loading`` holds a tenant for each), then the one whose last turn
    is longest ago; within a tenant likewise, then the oldest training. ``last`` is when a training last had a turn.
    """
    queues: dict[int, list[int]] = {}
    for training, tenant in sorted(waiting, key=lambda pair: (last.get(pair[0], 0.0), pair[0])):
        queues.setdefault(tenant, []).append(training)
    served = {tenant: max(last.get(training, 0.0) for training in queue) for tenant, queue in queues.items()}
    busy = Counter(loading)
    chosen: list[tuple[int, int]] = []
    while queues and len(chosen) < free:
        tenant = min(queues, key=lambda t: (busy[t], served[t], t))
        chosen.append((queues[tenant].pop(0), tenant))
        busy[tenant] += 1
        if not queues[tenant]:
            del queues[tenant]
    return chosen


@dataclass(frozen=True, slots=True)
class LoadFailures:
    """How often in a row a load has failed, and how long it rests for that."""

    tries: int
    rest_seconds: float


class Rota:
    """Who loads, who rests and who was served when, of one coordinator.

    Args:
        first_rest: seconds that a load rests after its first failure; twice as long after each that follows.
        longest_rest: but never longer.
    """

    def __init__(self, first_rest: float, longest_rest: float) -> None:
        self._first, self._longest = first_rest, longest_rest
        self._tenants: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._tries: dict[int, int] = {}
        self._until: dict[int, float] = {}
        self.crowded = False
        """Whether others wait for the places that are taken."""

    def away(self, now: float) -> list[int]:
        """Trainings that are not to be chosen: they are being loaded, or rest."""
        return list({training for training, until in self._until.items() if until > now} | self._tenants.keys())

    def choose(self, waiting: Sequence[tuple[int, int]], away: Sequence[int], places: int) -> list[int]:
        """Trainings that begin a turn now, ``places`` at once; of the (training, tenant) pairs that wait, without those that were ``away``.

        All others are forgotten: they have ended.
        """
        known = {training for training, _ in waiting} | set(away)
        for memory in (self._last, self._tries, self._until):
            for gone in memory.keys() - known:
                del memory[gone]
        chosen = choose(waiting, list(self._tenants.values()), self._last, places - len(self._tenants))
        self._tenants.update(chosen)
        self.crowded = len(waiting) > len(chosen)
        return [training for training, _ in chosen]

    def ended(self, training: int, now: float) -> None:
        """Notes that the turn of a load has ended."""
        del self._tenants[training]
        self._last[training] = now

    def went_on(self, training: int) -> None:
        """Something of it was stored: its failures are forgotten."""
        self._tries.pop(training, None)
        self._until.pop(training, None)

    def rest(self, training: int, until: float) -> None:
        """Keeps a load from being chosen until then, for no fault of its own."""
        self._until[training] = until

    def failed(self, training: int, now: float) -> LoadFailures:
        """Nothing of it could be read: it rests, longer each time."""
        tries = self._tries[training] = self._tries.get(training, 0) + 1
        seconds = min(self._first * 2 ** min(tries - 1, 20), self._longest)
        self.rest(training, now + seconds)
        return LoadFailures(tries, seconds)
