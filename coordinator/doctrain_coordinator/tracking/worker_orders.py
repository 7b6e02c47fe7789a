"""What operators ordered of workers, by their names: to take no new shards, and to hand back those that they have.

An order is a row that every heartbeat's answer and every round of the leader looks at; whoever connects under that name is under it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from doctrain_coordinator.changes import Changes
from doctrain_mesh import postgres
from doctrain_mesh.errors import WorkerNotFoundError
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__)
ORDER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """An order that stands: to take no new shards, and where it ``drains`` to hand back the others. ``ordered_by`` is a key's number."""

    worker_id: str
    drains: bool
    reason: str
    ordered_by: int
    ordered_at: datetime


Tell = Callable[[Connection, str], Awaitable[None]]
"""Keeps in the same transaction, as a sentence, what was done."""


class WorkerOrders:
    """All of a fleet's. Every method raises StoreUnavailableError; those with a worker's name raise WorkerNotFoundError."""

    def __init__(self, pool: Pool, changes: Changes) -> None:
        self._pool, self._changes = pool, changes

    async def cordon(self, worker_id: str, reason: str, key_id: int, *, tell: Tell) -> None:
        """Orders that a worker takes no new shards, and keeps those that it has; in place of any order before."""
        await self._put(worker_id, None, reason, key_id, done=f"Worker {worker_id} was cordoned", tell=tell)

    async def drain(self, worker_id: str, within_seconds: float, reason: str, key_id: int, *, tell: Tell) -> None:
        """Orders that a worker takes no new shards and hands the others back.

        What has not started goes back at once, and the rest in that time at the latest.
        """
        done = f"Worker {worker_id} was told to drain within {within_seconds:g} s"
        await self._put(worker_id, within_seconds, reason, key_id, done=done, tell=tell)

    async def uncordon(self, worker_id: str, *, tell: Tell) -> None:
        """Ends whatever order of a worker stands."""
        async with postgres.acquired(self._pool, "ending a worker's order", seconds=ORDER_SECONDS) as c, c.transaction():
            await _check_known(c, worker_id)
            await c.execute(SQL["remove"], worker_id)
            await tell(c, f"Worker {worker_id} was uncordoned")
        self._changes.work()

    async def list(self) -> Sequence[WorkerOrder]:
        """The orders that stand, by worker."""
        async with postgres.acquired(self._pool, "listing the workers' orders", seconds=ORDER_SECONDS) as c:
            return [WorkerOrder(**row) for row in await c.fetch(SQL["list"])]

    async def _put(self, worker_id: str, within_seconds: float | None, reason: str, key_id: int, *, done: str, tell: Tell) -> None:
        async with postgres.acquired(self._pool, "ordering something of a worker", seconds=ORDER_SECONDS) as c, c.transaction():
            await _check_known(c, worker_id)
            await c.execute(SQL["put"], worker_id, within_seconds, reason, key_id)
            await tell(c, f"{done}{f': {reason}' if reason else ''}")


async def _check_known(c: Connection, worker_id: str) -> None:
    if not await c.fetchval(SQL["known"], worker_id):
        sentence = f"No worker named {worker_id!r} is connected, or was within the last day; `doctrain workers` names those that are."
        raise WorkerNotFoundError(sentence)
