"""What watches read of documents: of one tenant one at a time, so that however many of its watches read, another's are next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from doctrain_coordinator.store import tenant_rows
from doctrain_mesh.postgres import Connection, Pool, sizes


@dataclass(slots=True)
class _Line:
    """One tenant's reads: the one that has its turn, and those that wait."""

    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    reads: int = 0


class WatchReads:
    """Gives the connections of a pool of ``sizes.WATCHES``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(sizes.WATCHES)
        self._lines: dict[int, _Line] = {}

    @asynccontextmanager
    async def connection(self, tenant: int, operation: str) -> AsyncIterator[Connection]:
        """In the tenant's turn, and then in that of all. Raises StoreUnavailableError."""
        line = self._lines.setdefault(tenant, _Line())
        line.reads += 1
        try:
            async with line.turn, self._turns, tenant_rows.acquired(self._pool, tenant, operation) as c:
                yield c
        finally:
            line.reads -= 1
            if not line.reads:
                del self._lines[tenant]
