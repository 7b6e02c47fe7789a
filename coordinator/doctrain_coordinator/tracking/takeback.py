"""Takes a lost session back: its shards are granted again, and charged where it is to blame (docs/protocol.md, "Take-back").

Any coordinator may do it; the guard on beat and stream makes a second run do nothing. The session and all that it held
change in one transaction (docs/adr/0006).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Blame, Budgets, Held, Verdict, judge
from doctrain_coordinator.core.ledger import TrainingRow
from doctrain_coordinator.core.states import DocumentState, ErrorClass, SessionState, ShardState
from doctrain_coordinator.outcomes import Outcomes
from doctrain_coordinator.tracking.opened import open_ordinals
from doctrain_coordinator.tracking.shard_locks import ShardLocks, brief, lock_shards
from doctrain_coordinator.tracking.training_rows import lock_trainings, write_trainings
from doctrain_mesh.postgres import Connection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, DocumentState, ErrorClass, SessionState, ShardState)
TAKE_BACK_SECONDS = 20.0
SAID = {Blame.CHARGED: "charged", Blame.FENCED: "it had fenced itself", Blame.NOBODY: "not charged"}
CRASH_CODE = "CRASHED_WORKER"
CRASH_MESSAGE = "The worker was lost each time this document ran, and it ran alone. Look at the document before training it again."


@dataclass(frozen=True, slots=True)
class Guard:
    """The session as its observer knew it; None: whatever it is."""

    session: int
    beat: int | None
    attached: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a take-back did: ``counted`` are shards whose charge was no more than a count."""

    worker_id: str
    trainings: Sequence[int]
    counted: Sequence[int]
    outcomes: Outcomes


class _MovedError(Exception):
    """A shard was begun between the read and the lock; the transaction runs again."""


class TakeBacks:
    """Raises StoreUnavailableError; callers try again, the guards make that harmless."""

    def __init__(self, locks: ShardLocks, changes: Changes, budgets: Budgets) -> None:
        self._locks, self._changes, self._budgets = locks, changes, budgets

    async def take_back(self, guard: Guard, *, blame: Blame, why: str) -> Taken | None:
        """Ends the session and makes its shards grantable; answers None when the guard no longer holds."""

        async def end(c: Connection) -> Taken | None:
            return await self._end(c, guard, blame)

        while True:
            try:
                taken = await self._locks.transact("taking a session back", TAKE_BACK_SECONDS, end, ends_writers=True)
                break
            except _MovedError:
                continue
        if taken is None:
            return None
        log.info("Session %d of %s was taken back (%s, %s).", guard.session, taken.worker_id, why, SAID[blame])
        taken.outcomes.tell()
        self._changes.trainings(taken.trainings)
        self._changes.work()
        return taken

    async def forgive(self, shards: Sequence[int]) -> None:
        """Takes one count each from shards that were charged too early."""

        async def uncount(c: Connection) -> None:
            await c.execute(SQL["forgive_shards"], list(shards))

        await self._locks.transact("forgiving a loss", TAKE_BACK_SECONDS, uncount)

    async def _end(self, c: Connection, guard: Guard, blame: Blame) -> Taken | None:
        held = await c.fetch(SQL["held_by"], guard.session)
        trainings = list({row["training"] for row in held})
        rows = {row.id: row for row, _ in await lock_trainings(c, trainings)}
        await brief(c)
        session = await c.fetchrow(SQL["end_session"], guard.session, guard.beat, guard.attached)
        if session is None:
            return None
        shards = await lock_shards(c, [row["id"] for row in held], SQL["lock_held_shards"], guard.session)
        if any(shard["training"] not in rows for shard in shards):
            raise _MovedError
        blame, outcomes = Blame.NOBODY if session["draining"] else blame, Outcomes()
        counted = [shard["id"] for shard in shards if await self._free(c, shard, rows[shard["training"]], blame, outcomes)]
        await write_trainings(c, rows.values())
        outcomes.ended(rows.values())
        return Taken(session["worker_id"], list(rows), counted, outcomes)

    async def _free(self, c: Connection, shard: Record, training: TrainingRow, blame: Blame, outcomes: Outcomes) -> bool:
        """Answers whether the shard was charged, and nothing but its count of losses changed by that."""
        version = training.touch()
        fences = shard["fences"] if shard["fenced_open"] == shard["open"] else 0  # else something was recorded since
        verdict, still_open = Verdict(shard["losses"], tuple(shard["suspects"]), fences=fences), shard["open"]
        if shard["state"] == ShardState.STOPPING:
            state = ShardState.CANCELLED
        else:
            if blame is not Blame.NOBODY:
                verdict = judge(blame, await self._held(c, shard, fences), self._budgets)
                still_open -= await self._charge_document(c, shard, verdict, training, outcomes)
            state = ShardState.PENDING if still_open else ShardState.DONE
        found = verdict.losses, list(verdict.suspects), still_open, verdict.fences
        await c.execute(SQL["take_back_shard"], shard["id"], state, version, *found)
        return (verdict.losses, verdict.suspects) == (shard["losses"] + 1, tuple(shard["suspects"]))

    async def _held(self, c: Connection, shard: Record, fences: int) -> Held:
        trial, last = shard["trial"], shard["first"] + shard["count"] - 1
        wanted = trial is not None or shard["losses"] + 1 >= self._budgets.before_trial
        ordinals = await open_ordinals(c, shard["training"], shard["first"], last) if wanted else []
        trial_losses = await c.fetchval(SQL["document_losses"], shard["training"], trial) if trial is not None else 0
        return Held(shard["width"], shard["losses"], shard["suspects"], trial, trial_losses or 0, shard["running"], ordinals, fences)

    async def _charge_document(self, c: Connection, shard: Record, verdict: Verdict, training: TrainingRow, outcomes: Outcomes) -> int:
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
        outcomes.failed(training.id, verdict.charged_document, ErrorClass.CRASH, CRASH_CODE)
        return 1
