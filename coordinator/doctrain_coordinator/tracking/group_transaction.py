"""One transaction for many begins and results: what is accepted of them is decided by the ledger, from rows that are locked.

Locks are taken first and in one order (trainings, sessions, shards, each by id), so that what the ledger decides is still true
when it is written. Every part is guarded, so that running it again records nothing twice.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from doctrain_coordinator.core.blocks import mended
from doctrain_coordinator.core.ledger import Begun, Ledger, Recorded, ShardRow
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.outcomes import Outcomes
from doctrain_coordinator.tracking.items import Begin, BegunShard, Item, Report, ShardFacts, TrainingFacts
from doctrain_coordinator.tracking.recording import Recording, record
from doctrain_coordinator.tracking.training_rows import lock_trainings, write_trainings
from doctrain_mesh.postgres import OwnConnection, Record, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState)
MOST_TOLD = 1_000
"""Sessions of which it is remembered that the log was told of their faults."""


@dataclass(slots=True)
class Batch:
    """What one transaction did: whom to answer and what to tell, once it is committed.

    ``moved``: the state of a training is another one. ``freed``: shards may be granted. ``stale``: so many blocks were refused.
    """

    answers: list[Callable[[], None]] = field(default_factory=list)
    trainings: list[int] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    begins: Counter[Begun] = field(default_factory=Counter)
    stale: int = 0
    moved: bool = False
    freed: bool = False


@dataclass(frozen=True, slots=True)
class _Locked:
    """The ledger of what becomes of locked rows; and what else there is to know of trainings and shards, by id."""

    ledger: Ledger
    trainings: Mapping[int, TrainingFacts]
    shards: Mapping[int, Record]

    def begun(self, shard: int) -> BegunShard:
        """What a begin is told of its shard."""
        row = self.shards[shard]
        facts = ShardFacts(row["id"], row["training"], row["tenant"], row["first"], row["count"])
        as_it_is = row["number"], row["told_width"], row["resize"], row["open"], row["suspects"], row["cool_downs"]
        return BegunShard(facts, self.trainings[facts.training], *as_it_is)


class GroupTransaction:
    """The transaction that commits many reports; a committer has one."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    async def run(self, c: OwnConnection, items: Sequence[Item]) -> Batch:
        """Within a transaction that has begun; raises what Postgres says."""
        begins = [item for item in items if isinstance(item, Begin)]
        reports = [item for item in items if isinstance(item, Report)]
        batch = Batch()
        locked = await self._lock(c, {item.shard for item in items}, {begin.session for begin in begins})
        batch.traceparents = [training.traceparent for training in locked.trainings.values() if training.traceparent]
        for begin in begins:
            outcome = locked.ledger.begin(begin.session, begin.shard, begin.number)
            batch.begins[outcome] += 1
            begun = locked.begun(begin.shard) if outcome is Begun.BEGUN else None
            batch.answers.append(partial(begin.answer, outcome, begun))
        await self._record(c, self._accepted(reports, locked, batch), locked, batch)
        await self._write(c, locked.ledger, batch)
        return batch

    def _accepted(self, reports: Sequence[Report], locked: _Locked, batch: Batch) -> list[Report]:
        """The reports of a shard's holder; the others are answered that they are late, or that it is done already."""
        ledger, accepted = locked.ledger, []
        for report in reports:
            if ledger.accepts(report.session, report.shard, report.number):
                self._mend(report, locked.shards[report.shard])
                accepted.append(report)
            else:
                done = ledger.already_done(report.session, report.shard, report.number)
                batch.freed = batch.freed or done
                batch.stale += not done
                batch.answers.append(partial(report.answer, report.outcome if done else Recorded.STALE, done, report.invalid))
        return accepted

    def _mend(self, report: Report, shard: Record) -> None:
        mend = mended(report.block, shard["first"], shard["count"], now_ms=time.time_ns() // 1_000_000)
        if mend.faults:
            if report.session not in self._told:
                self._told = {*self._told, report.session} if len(self._told) < MOST_TOLD else {report.session}
                log.error("Results of session %d are not as they should be: %s.", report.session, "; ".join(mend.faults))
            report.block, report.invalid = mend.block, [*report.invalid, *mend.invalid]
            if mend.foreign:
                report.outcome = Recorded.INVALID

    async def _lock(self, c: OwnConnection, shards: set[int], sessions: set[int]) -> _Locked:
        trainings = await lock_trainings(c, shards)
        live = await c.fetch(SQL["lock_live_sessions"], list(sessions)) if sessions else []
        rows = await c.fetch(SQL["lock_shards"], list(shards))
        ledger = Ledger(
            [row for row, _ in trainings],
            [
                ShardRow(
                    row["id"],
                    row["training"],
                    ShardState(row["state"]),
                    row["number"],
                    row["holder"],
                    row["open"],
                    row["suspects"],
                    row["trial"],
                )
                for row in rows
            ],
            [row["id"] for row in live],
        )
        return _Locked(ledger, {row.id: facts for row, facts in trainings}, {row["id"]: row for row in rows})

    async def _record(self, c: OwnConnection, accepted: Sequence[Report], locked: _Locked, batch: Batch) -> None:
        recordings = [Recording(report.shard, locked.shards[report.shard]["training"], report.number, report.block) for report in accepted]
        await record(c, recordings, batch.outcomes)
        for report, recorded in zip(accepted, recordings, strict=True):
            done = locked.ledger.record(
                report.shard,
                completed=recorded.completed,
                failed=recorded.failed,
                reported=report.block.reported,
                running=report.block.running,
            )
            batch.freed = batch.freed or done
            batch.answers.append(partial(report.answer, report.outcome, done, report.invalid))

    async def _write(self, c: OwnConnection, ledger: Ledger, batch: Batch) -> None:
        shards = [
            (s.id, s.state, s.holder, s.open, list(s.running), list(s.suspects), s.trial, s.version)
            for s in ledger.shards.values()
            if s.changed
        ]
        if shards:
            await c.executemany(SQL["update_shard"], shards)
        cleared = [s.id for s in ledger.shards.values() if s.cleared and s.open > 1]
        if cleared:
            await c.execute(SQL["order_yield"], cleared)
        batch.trainings = await write_trainings(c, ledger.trainings.values())
        batch.moved = any(row.moved for row in ledger.trainings.values())
        batch.outcomes.ended(ledger.trainings.values())
