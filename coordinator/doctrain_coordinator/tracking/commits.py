"""The group commit: begins and results of every stream of this coordinator, merged into one transaction at a time.

Locks are taken first and in one order (trainings, sessions, shards, each by id), so that what the ledger decides from the
locked rows is still true when it is written. An answer is given after the commit that it tells of, never before. When the
outcome of a commit is unknown, the batch is run again: every part of it is guarded, so that repeating records nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.blocks import Block, halves, mended, without_results
from doctrain_coordinator.core.ledger import Begun, Ledger, Recorded, ShardRow
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.outcomes import Outcomes
from doctrain_coordinator.tracking.recording import Recording, record
from doctrain_coordinator.tracking.training_rows import lock_trainings, training_row, write_trainings
from doctrain_mesh import postgres, statements, telemetry
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.pacing import Pace, Pacer
from doctrain_mesh.postgres import OwnConnection, Record
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
SQL = statements.of(__name__)
COMMIT_SECONDS = 20.0
MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What of a shard never changes."""

    id: int
    training: int
    tenant: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class BegunShard:
    """A shard that was begun, and the rows of it and of its training as they were locked."""

    facts: ShardFacts
    shard: Record
    training: Record


@dataclass(slots=True)
class Begin:
    """A begin to commit; ``answer`` is called after the commit with the outcome and, when begun, the shard."""

    session: int
    shard: int
    number: int
    answer: Callable[[Begun, BegunShard | None], None]
    urgent: bool = True


Answer = Callable[[Recorded, bool, Sequence[int]], None]


@dataclass(slots=True)
class Report:
    """A block to commit; ``answer`` gets (what came of it, shard_done, invalid ordinals) after the commit."""

    session: int
    shard: int
    number: int
    block: Block
    answer: Answer
    urgent: bool
    outcome: Recorded = Recorded.RECORDED
    invalid: Sequence[int] = ()


Item = Begin | Report


@dataclass(slots=True)
class _Batch:
    begins: list[Begin] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    answers: list[Callable[[], None]] = field(default_factory=list)
    trainings: list[int] = field(default_factory=list)
    rows: dict[int, tuple[Record, Record]] = field(default_factory=dict)
    traceparents: list[str] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    freed: bool = False


class _Whole:
    """The answer to a block that was committed in parts."""

    def __init__(self, report: Report) -> None:
        self._report, self._outcome, self._done, self._invalid = report, report.outcome, False, set(report.invalid)

    def take(self, outcome: Recorded, done: bool, invalid: Sequence[int]) -> None:
        if outcome is not Recorded.RECORDED:
            self._outcome = outcome
        self._done = self._done or done
        self._invalid.update(invalid)

    def answer(self) -> None:
        self._report.answer(self._outcome, self._done, sorted(self._invalid))


class Committer:
    """Owns one connection and the queue in front of it; ``run`` is supervised by the application."""

    def __init__(self, database_url: str, changes: Changes, pace: Pace | None = None) -> None:
        self._url = database_url
        self._changes = changes
        self._pacer = Pacer(pace or Pace())
        self._items: list[Item] = []
        self._oldest = 0.0
        self._urgent = False
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._facts: dict[int, ShardFacts] = {}
        self._told: set[int] = set()
        self._open: OwnConnection | None = None
        self._clock = time.monotonic

    def submit(self, items: Sequence[Item]) -> None:
        """Queues items for the next commit; their ``answer`` is called after it."""
        if not items:
            return
        if not self._items:
            self._oldest = self._clock()
        self._items.extend(items)
        self._arrived.set()
        if any(item.urgent for item in items) or len(self._items) >= 64:
            self._urgent = self._urgent or any(item.urgent for item in items)
            self._hurry.set()

    async def run(self) -> None:
        """Commits until cancelled; a lost Postgres is waited for, with the batch in hand."""
        try:
            while True:
                await self._arrived.wait()
                await self._pause()
                items, self._items = self._items, []
                self._arrived.clear()
                self._hurry.clear()
                self._urgent = False
                self._pacer.started(self._clock())
                await self._commit_until_done(items)
        finally:
            if self._open is not None:
                await postgres.close_connection(self._open)

    async def _pause(self) -> None:
        while True:
            pause = self._pacer.wait(self._clock(), waiting=len(self._items), oldest=self._oldest, urgent=self._urgent)
            if pause <= 0:
                return
            if self._hurry.is_set():
                await asyncio.sleep(pause)
                continue
            try:
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    async def _commit_until_done(self, items: list[Item]) -> None:
        while True:
            try:
                await self._commit(items)
                return
            except postgres.DataError as error:
                if len(items) > 1:
                    middle = len(items) // 2
                    await self._commit_until_done(items[:middle])
                    await self._commit_until_done(items[middle:])
                    return
                item = items[0]
                if isinstance(item, Begin):
                    raise
                await self._commit_in_part(item, error)
                return
            except StoreUnavailableError as error:
                log.warning("A commit of %d items is repeated: %s", len(items), error)
                await self._reconnect_later()

    async def _commit_in_part(self, report: Report, error: Exception) -> None:
        """Postgres refused this block: it is halved until each result that cannot be stored is alone, and becomes a failure."""
        reported = report.block.reported()
        if len(reported) > 1:
            whole = _Whole(report)
            for half in halves(report.block):
                await self._commit_until_done([replace(report, block=half, answer=whole.take)])
            whole.answer()
            return
        if set(report.invalid) >= set(reported):
            raise error
        log.error("A result of shard %d could not be stored as sent and is recorded as a failure: %s", report.shard, error)
        report.block, report.invalid = without_results(report.block, reported), [*report.invalid, *reported]
        await self._commit_until_done([report])

    async def _reconnect_later(self) -> None:
        if self._open is not None:
            self._open.terminate()
            self._open = None
        await asyncio.sleep(0.25)

    @property
    def _connection(self) -> OwnConnection:
        assert self._open is not None
        return self._open

    async def _commit(self, items: Sequence[Item]) -> None:
        if self._open is None:
            self._open = await postgres.connect(
                self._url,
                settings={"application_name": "doctrain commits", "enable_seqscan": "off", **postgres.ended_when_frozen()},
            )
        batch, started_ns = _Batch(), time.time_ns()
        async with postgres.available("committing results"), deadline("A commit of results", COMMIT_SECONDS):
            # Not ``transaction()``: on a connection that does not answer, its rollback would wait all over again.
            await self._connection.execute("begin")
            try:
                await self._transact(items, batch)
            except postgres.DataError:
                await self._connection.execute("rollback")
                raise
            await self._connection.execute("commit")
        for traceparent in batch.traceparents:
            telemetry.record_span("commit", parent=traceparent, start_ns=started_ns, attributes={"doctrain.items": len(items)})
        for answer in batch.answers:
            answer()
        batch.outcomes.tell()
        self._changes.trainings(batch.trainings)
        if batch.freed:
            self._changes.work()

    async def _transact(self, items: Sequence[Item], batch: _Batch) -> None:
        await self._learn({item.shard for item in items})
        batch.begins = [item for item in items if isinstance(item, Begin)]
        batch.reports = [item for item in items if isinstance(item, Report)]
        ledger = await self._lock(items, batch)
        for begin in batch.begins:
            outcome = ledger.begin(begin.session, begin.shard, begin.number)
            begun = BegunShard(self._facts[begin.shard], *batch.rows[begin.shard]) if outcome is Begun.BEGUN else None
            batch.answers.append(partial(begin.answer, outcome, begun))
        accepted = []
        for report in batch.reports:
            if ledger.accepts(report.session, report.shard, report.number):
                self._mend(report)
                accepted.append(report)
            else:
                done = ledger.already_done(report.session, report.shard, report.number)
                batch.freed = batch.freed or done
                batch.answers.append(partial(report.answer, report.outcome if done else Recorded.STALE, done, report.invalid))
        await self._record(accepted, ledger, batch)
        await self._write(ledger, batch)

    def _mend(self, report: Report) -> None:
        facts = self._facts[report.shard]
        mend = mended(report.block, facts.first, facts.count, now_ms=time.time_ns() // 1_000_000)
        if mend.faults:
            if report.session not in self._told:
                self._told = {*self._told, report.session} if len(self._told) < MOST_TOLD else {report.session}
                log.error("Results of session %d are not as they should be: %s.", report.session, "; ".join(mend.faults))
            report.block, report.invalid = mend.block, [*report.invalid, *mend.invalid]
            if mend.foreign:
                report.outcome = Recorded.INVALID

    async def _learn(self, shards: set[int]) -> None:
        unknown = shards - self._facts.keys()
        if not unknown:
            return
        if len(self._facts) > 100_000:
            self._facts.clear()
            unknown = shards
        for row in await self._connection.fetch(SQL["shard_facts"], list(unknown)):
            self._facts[row["id"]] = ShardFacts(*row)

    async def _lock(self, items: Sequence[Item], batch: _Batch) -> Ledger:
        known = {item.shard: self._facts[item.shard] for item in items if item.shard in self._facts}
        trainings = await lock_trainings(self._connection, list({f.training for f in known.values()}))
        batch.traceparents = [row["traceparent"] for row in trainings if row["traceparent"]]
        sessions: list[Record] = []
        if batch.begins:
            sessions = await self._connection.fetch(SQL["lock_live_sessions"], list({b.session for b in batch.begins}))
        shards = await self._connection.fetch(SQL["lock_shards"], list(known))
        if batch.begins:
            by_id = {row["id"]: row for row in trainings}
            batch.rows = {row["id"]: (row, by_id[row["training"]]) for row in shards if row["training"] in by_id}
        return Ledger(
            [training_row(row) for row in trainings],
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
                for row in shards
            ],
            [row["id"] for row in sessions],
        )

    async def _record(self, accepted: Sequence[Report], ledger: Ledger, batch: _Batch) -> None:
        recordings = [Recording(self._facts[report.shard].training, report.number, report.block) for report in accepted]
        await record(self._connection, recordings, batch.outcomes)
        for report, recorded in zip(accepted, recordings, strict=True):
            done = ledger.record(
                report.shard,
                completed=recorded.completed,
                failed=recorded.failed,
                reported=report.block.reported,
                running=report.block.running,
            )
            batch.freed = batch.freed or done
            batch.answers.append(partial(report.answer, report.outcome, done, report.invalid))

    async def _write(self, ledger: Ledger, batch: _Batch) -> None:
        shards = [
            (s.id, s.state, s.holder, s.open, list(s.running), list(s.suspects), s.trial, s.version)
            for s in ledger.shards.values()
            if s.changed
        ]
        if shards:
            await self._connection.executemany(SQL["update_shard"], shards)
        cleared = [s.id for s in ledger.shards.values() if s.cleared and s.open > 1]
        if cleared:
            await self._connection.execute(SQL["order_yield"], cleared)
        batch.trainings = await write_trainings(self._connection, ledger.trainings.values())
        batch.outcomes.ended(ledger.trainings.values())
