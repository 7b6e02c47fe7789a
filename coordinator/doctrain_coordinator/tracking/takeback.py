"""Takes a lost session back: its shards are granted again, and charged where it is to blame (docs/protocol.md, "Take-back").

Any coordinator may do it; the guard on beat and stream makes a second run do nothing. The session and all that it held
change in one transaction (docs/adr/0006).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Blame, Budgets, Judgement, LostShard, judge
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
    """What a take-back did: ``counted`` are shards whose charge was no more than a count, ``charges`` how many there were of each kind."""

    worker_id: str
    trainings: Sequence[int]
    counted: Sequence[int]
    outcomes: Outcomes
    charges: Counter[str]
    blame: Blame


@dataclass(frozen=True, slots=True)
class _Charge:
    """What a shard was charged, as metrics name it, empty: nothing; ``only_counted``: nothing but its count of losses changed by that."""

    kind: str
    only_counted: bool = False


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
        log.info("Session %d of %s was taken back (%s, %s).", guard.session, taken.worker_id, why, SAID[taken.blame])
        metrics.TAKE_BACKS.add(1, taken.blame.name.lower())
        for kind, count in taken.charges.items():
            metrics.CHARGES.add(count, kind)
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
        rows = {row.id: row for row, _ in await lock_trainings(c, [row["id"] for row in held])}
        await brief(c)
        session = await c.fetchrow(SQL["end_session"], guard.session, guard.beat, guard.attached)
        if session is None:
            return None
        shards = await lock_shards(c, [row["id"] for row in held], SQL["lock_held_shards"], guard.session)
        if any(shard["training"] not in rows for shard in shards):
            raise _MovedError
        blame, outcomes = Blame.NOBODY if session["draining"] else blame, Outcomes()
        charges = {shard["id"]: await self._free(c, shard, rows[shard["training"]], blame, outcomes) for shard in shards}
        await write_trainings(c, rows.values())
        outcomes.ended(rows.values())
        counted = [shard for shard, charge in charges.items() if charge.only_counted]
        kinds = Counter(charge.kind for charge in charges.values() if charge.kind)
        return Taken(session["worker_id"], list(rows), counted, outcomes, kinds, blame)

    async def _free(self, c: Connection, shard: Record, training: TrainingRow, blame: Blame, outcomes: Outcomes) -> _Charge:
        version = training.touch()
        fences = shard["fences"] if shard["fenced_open"] == shard["open"] else 0  # else something was recorded since
        verdict, still_open = Judgement(shard["losses"], tuple(shard["suspects"]), fences=fences), shard["open"]
        if shard["state"] == ShardState.STOPPING:
            state = ShardState.CANCELLED
        else:
            if blame is not Blame.NOBODY:
                verdict = judge(blame, await self._held(c, shard, fences), self._budgets)
                still_open -= await self._charge_document(c, shard, verdict, training, outcomes)
            state = ShardState.PENDING if still_open else ShardState.DONE
        found = verdict.losses, list(verdict.suspects), still_open, verdict.fences
        await c.execute(SQL["take_back_shard"], shard["id"], state, version, *found)
        if verdict.charged_document is not None:
            return _Charge("failed" if still_open < shard["open"] else "trial")
        counted = verdict.losses == shard["losses"] + 1
        return _Charge("loss" if counted else "", only_counted=counted and verdict.suspects == tuple(shard["suspects"]))

    async def _held(self, c: Connection, shard: Record, fences: int) -> LostShard:
        trial, last = shard["trial"], shard["first"] + shard["count"] - 1
        wanted = trial is not None or shard["losses"] + 1 >= self._budgets.before_trial
        ordinals = await open_ordinals(c, shard["training"], shard["first"], last) if wanted else []
        trial_losses = await c.fetchval(SQL["document_losses"], shard["training"], trial) if trial is not None else 0
        return LostShard(shard["width"], shard["losses"], shard["suspects"], trial, trial_losses or 0, shard["running"], ordinals, fences)

    async def _charge_document(self, c: Connection, shard: Record, verdict: Judgement, training: TrainingRow, outcomes: Outcomes) -> int:
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
