"""How a session ends: taken back when it is lost, released shard by shard when its holder forgot them (PROTOCOL "Take-back").

Any coordinator may run any of these; the guards on beat, stream and holder make a second run do nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Budgets, Held, Verdict, charge
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.store import statements
from doctrain_coordinator.stuck import unblocked
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Pool, Record

log = logging.getLogger(__name__)
SQL = statements.load("sessions")
COMMITS = statements.load("commits")
OPENED = statements.load("opened")
TAKE_BACK_SECONDS = 20.0
CRASH_CODE = "CRASHED_WORKER"
CRASH_MESSAGE = "The worker was lost each time this document ran, and it ran alone. Look at the document before training it again."


@dataclass(frozen=True, slots=True)
class Guard:
    """The session as its observer knew it; None: whatever it is."""

    session: int
    beat: int | None
    attached: int | None


@dataclass(frozen=True, slots=True)
class Unless:
    """When shards that a heartbeat left unnamed are the session's all the same.

    It has another stream than ``attached`` by now, or ``asked`` names them: called once their rows are locked, it answers
    the shards that the session has asked for since.
    """

    attached: int
    asked: Callable[[], Collection[int]]


class _Moved(Exception):
    """A shard was begun between the read and the lock; the transaction runs again."""


class Losses:
    """Takes sessions back. Raises StoreUnavailableError; callers try again, the guards make that harmless."""

    def __init__(self, pool: Pool, changes: Changes, budgets: Budgets) -> None:
        self._pool, self._changes, self._budgets = pool, changes, budgets

    async def take_back(self, guard: Guard, *, charged: bool, why: str) -> bool:
        """Ends the session and makes its shards grantable; answers False when the guard no longer holds."""
        while True:
            try:
                async with (
                    postgres.acquired(self._pool, "taking a session back", seconds=TAKE_BACK_SECONDS) as c,
                    unblocked(self._pool, c),
                    c.transaction(),
                ):
                    trainings = await self._end(c, guard, charged)
                break
            except _Moved:
                continue
        if trainings is None:
            return False
        log.info("Session %d was taken back (%s, %s).", guard.session, why, "charged" if charged else "not charged")
        self._changes.trainings(trainings)
        self._changes.work()
        return True

    async def _end(self, c: Any, guard: Guard, charged: bool) -> list[int] | None:
        held = [row[0] for row in await c.fetch(SQL["trainings_held"], guard.session)]
        rows = {row["id"]: training_row(row) for row in await c.fetch(COMMITS["lock_trainings"], held)}
        draining = await c.fetchval(SQL["end_session"], guard.session, guard.beat, guard.attached)
        if draining is None:
            return None
        shards = await c.fetch(SQL["lock_held_shards"], guard.session)
        if any(shard["training"] not in rows for shard in shards):
            raise _Moved
        for shard in shards:
            await self._free(c, shard, rows[shard["training"]], charged and not draining)
        await write_trainings(c, rows.values())
        return list(rows)

    async def _free(self, c: Any, shard: Record, training: TrainingRow, charged: bool) -> None:
        version = training.touch()
        if shard["state"] == ShardState.STOPPING:
            await c.execute(
                SQL["release_shard"],
                shard["id"],
                ShardState.CANCELLED,
                version,
                shard["losses"],
                shard["suspects"],
                shard["open"],
                None,
                None,
            )
            return
        verdict, still_open = Verdict(shard["losses"], tuple(shard["suspects"])), shard["open"]
        if charged:
            verdict = charge(await self._held(c, shard), self._budgets)
            still_open -= await self._charge_document(c, shard, verdict, training)
        state = ShardState.PENDING if still_open else ShardState.DONE
        await c.execute(SQL["release_shard"], shard["id"], state, version, verdict.losses, list(verdict.suspects), still_open, None, None)

    async def _held(self, c: Any, shard: Record) -> Held:
        trial, last = shard["trial"], shard["first"] + shard["count"] - 1
        wanted = trial is not None or shard["losses"] + 1 >= self._budgets.before_trial
        ordinals = [r[0] for r in await c.fetch(OPENED["open_ordinals"], shard["training"], shard["first"], last)] if wanted else []
        trial_losses = await c.fetchval(SQL["document_losses"], shard["training"], trial) if trial is not None else 0
        return Held(shard["width"], shard["losses"], shard["suspects"], trial, trial_losses or 0, shard["running"], ordinals)

    async def _charge_document(self, c: Any, shard: Record, verdict: Verdict, training: TrainingRow) -> int:
        if verdict.charged_document is None:
            return 0
        if not verdict.fails:
            await c.execute(SQL["charge_document"], shard["training"], verdict.charged_document)
            return 0
        row = await c.fetchval(
            SQL["fail_document"], shard["training"], verdict.charged_document, shard["number"], CRASH_CODE, CRASH_MESSAGE
        )
        if row is None:
            return 0
        training.failed += 1
        return 1

    async def release(
        self,
        session: int,
        shards: Sequence[tuple[int, int]],
        *,
        why: str = "",
        not_before: datetime | None = None,
        unless: Unless | None = None,
    ) -> None:
        """Frees shards (id, number) that the session holds: RUNNING to PENDING, STOPPING to CANCELLED, uncharged.

        What is not (any more) as named is left alone. For a yield, ``why`` is kept as the reason until ``not_before``.
        """
        wanted = dict(shards)
        async with (
            postgres.acquired(self._pool, "releasing shards", seconds=TAKE_BACK_SECONDS) as c,
            c.transaction(),
        ):
            facts = await c.fetch(COMMITS["shard_facts"], list(wanted))
            locked = await c.fetch(COMMITS["lock_trainings"], list({fact["training"] for fact in facts}))
            rows = {row["id"]: training_row(row) for row in locked}
            if unless is not None and await c.fetchval(SQL["lock_attached_session"], session, unless.attached) is None:
                return
            held = await c.fetch(SQL["lock_held_shards_of"], session, list(wanted))
            asked = unless.asked() if unless is not None else ()
            for shard in held:
                if wanted[shard["id"]] == shard["number"] and shard["id"] not in asked:
                    await self._hand_back(c, shard, rows[shard["training"]], why, not_before)
            await write_trainings(c, rows.values())
        changed = [row.id for row in rows.values() if row.changed]
        if changed:
            self._changes.trainings(changed)
            self._changes.work()

    @staticmethod
    async def _hand_back(c: Any, shard: Record, training: TrainingRow, why: str, not_before: datetime | None) -> None:
        state = ShardState.CANCELLED if shard["state"] == ShardState.STOPPING else ShardState.PENDING
        await c.execute(
            SQL["release_shard"],
            shard["id"],
            state,
            training.touch(),
            shard["losses"],
            shard["suspects"],
            shard["open"],
            not_before,
            why if not_before else None,
        )


def training_row(row: Record) -> TrainingRow:
    """A locked training as the ledger takes it."""
    return TrainingRow(row["id"], TrainingState(row["state"]), row["sealed"], row["total"], row["completed"], row["failed"], row["version"])


async def write_trainings(c: Any, rows: Any) -> None:
    """Settles and writes the trainings that a transaction changed."""
    now = datetime.now(UTC)
    for row in rows:
        if not row.changed:
            continue
        row.settle()
        await c.execute(
            COMMITS["update_training"],
            row.id,
            row.state,
            row.completed,
            row.failed,
            row.version,
            now if row.begun else None,
            now if row.state.ended else None,
        )
