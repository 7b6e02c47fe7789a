"""Which loads go on next: every tenant in turn, however many one of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


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
