"""Shards that their holder gives up while its session lives: yielded, stopped, or forgotten by it (docs/protocol.md, "Yield", "Cancel").

Uncharged. The guards on holder and number make a second run do nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.tracking.shard_locks import ShardLocks, brief, lock_shards
from doctrain_coordinator.tracking.training_rows import lock_trainings, write_trainings
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, SessionState, ShardState)
HAND_BACK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Unless:
    """When shards that a heartbeat left unnamed are the session's all the same.

    It has another stream than ``attached`` by now, or ``asked`` names them: called once their rows are locked, it answers
    the shards that the session has asked for since.
    """

    attached: int
    asked: Callable[[], Collection[int]]


@dataclass(frozen=True, slots=True)
class _Freed:
    """How many ``shards`` were freed, and the ``trainings`` that changed by it."""

    trainings: Sequence[int] = ()
    shards: int = 0


class HandBacks:
    """Raises StoreUnavailableError; callers try again, the guards make that harmless."""

    def __init__(self, locks: ShardLocks, changes: Changes) -> None:
        self._locks, self._changes = locks, changes

    async def release_yielded(self, session: int, shard: tuple[int, int], *, why: str = "", delay_ms: int = 0) -> None:
        """Frees one shard (id, number) as its holder asks. One that rests for ``delay_ms`` shows ``why`` meanwhile."""

        async def free(c: Connection) -> _Freed:
            return await _free(c, session, [shard], why=why, delay_ms=delay_ms)

        await self._transact(free, "yielded")

    async def release_stopped(self, session: int, shards: Sequence[tuple[int, int]]) -> None:
        """Frees shards of which nothing runs any more."""

        async def free(c: Connection) -> _Freed:
            return await _free(c, session, shards)

        await self._transact(free, "stopped")

    async def release_unnamed(self, session: int, shards: Sequence[tuple[int, int]], unless: Unless) -> None:
        """Frees shards that the session's heartbeat left unnamed."""

        async def free(c: Connection) -> _Freed:
            return await _free(c, session, shards, unless)

        await self._transact(free, "unnamed")

    async def _transact(self, free: Callable[[Connection], Awaitable[_Freed]], kind: str) -> None:
        freed = await self._locks.transact("releasing shards", HAND_BACK_SECONDS, free)
        metrics.HAND_BACKS.add(freed.shards, kind)
        if freed.trainings:
            self._changes.trainings(freed.trainings)
            self._changes.work()


async def _free(
    c: Connection, session: int, shards: Sequence[tuple[int, int]], unless: Unless | None = None, *, why: str = "", delay_ms: int = 0
) -> _Freed:
    """Makes those that the session holds RUNNING pending and STOPPING cancelled; what is not (any more) as named is left alone."""
    wanted = dict(shards)
    rows = {row.id: row for row, _ in await lock_trainings(c, wanted)}
    await brief(c)
    if unless is not None and await c.fetchval(SQL["lock_attached_session"], session, unless.attached) is None:
        return _Freed()
    held = await lock_shards(c, list(wanted), SQL["lock_held_shards_of"], session, list(wanted))
    asked = unless.asked() if unless is not None else ()
    freed = 0
    for shard in held:
        # One that was made since the trainings were locked is not what was asked for.
        if wanted[shard["id"]] == shard["number"] and shard["id"] not in asked and shard["training"] in rows:
            state = ShardState.CANCELLED if shard["state"] == ShardState.STOPPING else ShardState.PENDING
            await c.execute(SQL["free_shard"], shard["id"], state, rows[shard["training"]].touch(), delay_ms, why)
            freed += 1
    return _Freed(await write_trainings(c, rows.values()), freed)
