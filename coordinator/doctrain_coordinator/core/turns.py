"""Which loads go on next: every tenant in turn, however many one of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Turn:
    """One load's turn. Times are seconds of one monotonic clock.

    Args:
        began: when it did.
        seconds: how long it has while others wait.
        quiet_seconds: how long it has while nothing is stored, whether others wait or not.
        fed: when it went on last; at first, when it began.
    """

    began: float
    seconds: float
    quiet_seconds: float
    fed: float = 0.0

    def __post_init__(self) -> None:
        self.fed = self.began

    def went_on(self, now: float) -> None:
        """Something was stored."""
        self.fed = now

    @property
    def fruitless(self) -> bool:
        """Whether nothing was stored in it."""
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
