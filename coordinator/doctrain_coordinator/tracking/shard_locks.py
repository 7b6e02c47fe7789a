"""Transactions that take shards from their holders: they wait for index writers, and hold nobody else up meanwhile.

An index writer holds its shard ``FOR KEY SHARE``, one that is frozen until Postgres ends its session. Whoever waited for it
with the training locked would stop every group commit that touches the training, and with it other tenants' results. So
what comes after the training in the order of locks is waited for briefly; then the transaction lets go of everything, watches
the shards until each was free, and starts over. Writers of a lost session are ended meanwhile (``stuck.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from doctrain_coordinator.tracking.stuck import unblocked
from doctrain_mesh import postgres
from doctrain_mesh.errors import OperationTimeoutError, StoreBusyError
from doctrain_mesh.postgres import Connection, LockTimeoutError, Pool, Record, statements
from doctrain_mesh.supervise import deadline

SQL = statements.of(__name__)
PAUSE_SECONDS = 0.1
AT_ONCE = 6

T = TypeVar("T")


class _Hindered(Exception):
    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__(f"of {len(shards)} shards some are locked by others")
        self.shards = shards


async def brief(c: Connection) -> None:
    """From here on the transaction waits for no lock longer than a quarter of a second; call it once the trainings are locked."""
    await c.execute(SQL["wait_briefly"])


async def lock_shards(c: Connection, shards: Sequence[int], statement: str, *arguments: object) -> list[Record]:
    """Runs ``statement``, which locks ``shards`` or some of them; whoever is in the way is waited for outside."""
    try:
        return list(await c.fetch(statement, *arguments))
    except LockTimeoutError:
        raise _Hindered(shards) from None


@asynccontextmanager
async def _in_time(operation: str, seconds: float, asking: Callable[[], bool]) -> AsyncIterator[None]:
    """Within that time; who was not ``asking`` Postgres when it was over, but waited for others, hears StoreBusyError."""
    try:
        async with deadline(operation[0].upper() + operation[1:], seconds):
            yield
    except OperationTimeoutError as error:
        if asking():
            raise
        raise StoreBusyError(f"Others were before it ({operation}). The call may be made again.", retry_after_seconds=1.0) from error


class ShardLocks:
    """Runs transactions that lock shards; a coordinator has one for each pool.

    ``at_once`` bounds how many such transactions run at a time, so that others find connections.
    """

    def __init__(self, pool: Pool, *, at_once: int = AT_ONCE) -> None:
        self._pool = pool
        self._gate = asyncio.Semaphore(at_once)

    async def transact(
        self, operation: str, seconds: float, body: Callable[[Connection], Awaitable[T]], *, ends_writers: bool = False
    ) -> T:
        """Runs ``body`` in a transaction, from its beginning as often as it takes.

        ``ends_writers``: whoever writes index rows of these shards has lost them, and is cut off when it is in the way.
        Raises StoreUnavailableError, also when that takes longer than ``seconds``; StoreBusyError when it waited for others.
        """
        asking = False
        async with postgres.available(operation), _in_time(operation, seconds, lambda: asking):
            while True:
                try:
                    async with self._gate:
                        asking = True
                        async with postgres.acquired(self._pool, operation, seconds=seconds) as c, c.transaction():
                            return await body(c)
                except _Hindered as hindered:
                    asking = False
                    await self._wait_outside(operation, hindered.shards, ends_writers)
                except LockTimeoutError:
                    asking = False
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _wait_outside(self, operation: str, shards: Sequence[int], ends_writers: bool) -> None:
        held = set(shards)
        while held:
            await asyncio.sleep(PAUSE_SECONDS)
            async with postgres.acquired(self._pool, operation) as c:
                held -= {row["id"] for row in await c.fetch(SQL["free"], list(held))}
            if held and ends_writers:
                await self._end_writers(operation, min(held))

    async def _end_writers(self, operation: str, shard: int) -> None:
        """Queues for that one shard, with nothing else locked, so that Postgres tells who is in the way."""
        async with self._gate, postgres.acquired(self._pool, operation) as c, unblocked(self._pool, c):
            with contextlib.suppress(LockTimeoutError):
                async with c.transaction():
                    await c.execute(SQL["wait_for_writers"])
                    await c.execute(SQL["lock"], shard)
