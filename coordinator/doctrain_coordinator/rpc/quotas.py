"""What a tenant's plan allows it at each coordinator: calls a second, and watches at once. Plans change within seconds.

These are counted where they happen, with no other coordinator and no database asked: behind several coordinators a tenant that calls
them all may have as much of each.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from doctrain_coordinator.core.rates import Bucket
from doctrain_coordinator.rpc.policies import Cost
from doctrain_coordinator.tenants.identity import Identity
from doctrain_mesh.errors import QuotaExceededError

BURST_SECONDS = 2.0
"""After a pause so many seconds' calls may come at once."""
WATCH_RETRY_SECONDS = 5.0
MOST_BUCKETS = 10_000


class Quotas:
    """The quotas that one coordinator counts. ``clock``: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, Bucket] = {}
        self._watches: Counter[int] = Counter()

    @contextmanager
    def call(self, cost: Cost, caller: Identity) -> Iterator[None]:
        """Open while the call is served; raises QuotaExceededError that says when to call again."""
        if caller.requests_per_second:
            self._take(caller)
        if cost is not Cost.WATCH:
            yield
            return
        if caller.watches and self._watches[caller.tenant] >= caller.watches:
            raise QuotaExceededError(
                f"The plan {caller.plan} allows {caller.watches:,} watches at once; end one, or ask for the training's state now and then.",
                metadata=_which(caller, "watches", f"{caller.watches}", "watches"),
                retry_after_seconds=WATCH_RETRY_SECONDS,
            )
        self._watches[caller.tenant] += 1
        try:
            yield
        finally:
            self._watches[caller.tenant] -= 1
            if not self._watches[caller.tenant]:
                del self._watches[caller.tenant]

    def _take(self, caller: Identity) -> None:
        now, rate = self._clock(), caller.requests_per_second
        most = max(1.0, BURST_SECONDS * rate)
        if caller.tenant not in self._buckets and len(self._buckets) >= MOST_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(caller.tenant, Bucket(most, now))
        wait = bucket.take(now, a_second=rate, most=most)
        if wait:
            raise QuotaExceededError(
                f"The plan {caller.plan} allows {rate:g} calls a second; call again in {math.ceil(wait * 10) / 10:g} s.",
                metadata=_which(caller, "requests_per_second", f"{rate:g}", "calls a second"),
                retry_after_seconds=wait,
            )


def _which(caller: Identity, quota: str, limit: str, unit: str) -> dict[str, str]:
    return {"subject": f"tenant:{caller.tenant_id}", "quota": quota, "limit": limit, "unit": unit}
