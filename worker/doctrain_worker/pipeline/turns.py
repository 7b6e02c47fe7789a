"""Turns for a few at once, fair to tenants: the next is of the tenant that has fewest, and of its own, the one that waited longest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most ``places`` at once."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._having: Counter[int] = Counter()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, tenant: int) -> AsyncIterator[None]:
        """Waits for a turn, and has it while open."""
        if self._free > 0:
            self._take(tenant)
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._give_back(tenant)

    async def _wait(self, tenant: int) -> None:
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant, given))
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._give_back(tenant)
            raise

    def _take(self, tenant: int) -> None:
        self._free -= 1
        self._having[tenant] += 1

    def _give_back(self, tenant: int) -> None:
        self._free += 1
        self._having[tenant] -= 1
        if not self._having[tenant]:
            del self._having[tenant]  # of all tenants that ever came only those that have something are remembered
        self._waiting = [(of, given) for of, given in self._waiting if not given.done()]
        if self._waiting:
            of, given = min(self._waiting, key=lambda waiting: self._having[waiting[0]])
            self._waiting.remove((of, given))
            self._take(of)
            given.set_result(None)
