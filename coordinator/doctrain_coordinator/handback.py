"""Shards that their holder gives up while its session lives: yielded, stopped, or forgotten by it (docs/protocol.md, "Yield", "Stopped").

Uncharged. The guards on holder and number make a second run do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.rows import training_row, write_trainings
from doctrain_coordinator.shard_locks import ShardLocks, brief, lock_shards
from doctrain_coordinator.store import statements
from doctrain_mesh.postgres import Connection, Record

SQL = statements.load("sessions")
COMMITS = statements.load("commits")
HAND_BACK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Unless:
    """When shards that a heartbeat left unnamed are the session's all the same.

    It has another stream than ``attached`` by now, or ``asked`` names them: called once their rows are locked, it answers
    the shards that the session has asked for since.
    """

    attached: int
    asked: Callable[[], Collection[int]]


class HandBacks:
    """Raises StoreUnavailableError; callers try again, the guards make that harmless."""

    def __init__(self, locks: ShardLocks, changes: Changes) -> None:
        self._locks, self._changes = locks, changes

    async def release(
        self,
        session: int,
        shards: Sequence[tuple[int, int]],
        *,
        why: str = "",
        delay_ms: int = 0,
        unless: Unless | None = None,
    ) -> None:
        """Frees shards (id, number) that the session holds: RUNNING to PENDING, STOPPING to CANCELLED.

        What is not (any more) as named is left alone. A shard that rests for ``delay_ms`` shows ``why`` meanwhile.
        """
        wanted = dict(shards)

        async def free(c: Connection) -> list[int]:
            facts = await c.fetch(COMMITS["shard_facts"], list(wanted))
            locked = await c.fetch(COMMITS["lock_trainings"], list({fact["training"] for fact in facts}))
            rows = {row["id"]: training_row(row) for row in locked}
            await brief(c)
            if unless is not None and await c.fetchval(SQL["lock_attached_session"], session, unless.attached) is None:
                return []
            held = await lock_shards(c, list(wanted), SQL["lock_held_shards_of"], session, list(wanted))
            asked = unless.asked() if unless is not None else ()
            for shard in held:
                if wanted[shard["id"]] == shard["number"] and shard["id"] not in asked:
                    await _free(c, shard, rows[shard["training"]], why, delay_ms)
            return await write_trainings(c, rows.values())

        changed = await self._locks.transact("releasing shards", HAND_BACK_SECONDS, free)
        if changed:
            self._changes.trainings(changed)
            self._changes.work()


async def _free(c: Connection, shard: Record, training: TrainingRow, why: str, delay_ms: int) -> None:
    state = ShardState.CANCELLED if shard["state"] == ShardState.STOPPING else ShardState.PENDING
    await c.execute(SQL["free_shard"], shard["id"], state, training.touch(), delay_ms, why)
