"""How much the fleet has worked for each tenant: slot-seconds, which cost what documents cost, however many pages they have.

One that comes anew starts where the least served of the others is: what it did not ask for before is no credit (as a task that
wakes in the Linux scheduler's CFS).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class ReceivedService:
    """What one leader has seen. Times in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._received: dict[int, float] = {}
        self._at: float | None = None

    def observe(self, now: float, used: Mapping[int, int]) -> None:
        """Tenants are counted for so many slots, as they were since the last look."""
        seconds = 0.0 if self._at is None else now - self._at
        self._at = now
        self.attend(used)
        for tenant, slots in used.items():
            self._received[tenant] += slots * seconds

    def attend(self, tenants: Collection[int]) -> None:
        """Counts these tenants among those that have work."""
        least = min(self._received.values(), default=0.0)
        for tenant in tenants:
            self._received.setdefault(tenant, least)

    def forget_others(self, tenants: Collection[int]) -> None:
        """No other tenant has work."""
        self._received = {tenant: received for tenant, received in self._received.items() if tenant in tenants}

    def received(self, tenant: int, weight: float) -> float:
        """Slot-seconds for its weight; 0 for one that nothing is known of."""
        return self._received.get(tenant, 0.0) / weight
