"""The group commit: begins and results of every stream of this coordinator, merged into one transaction at a time.

An answer is given after the commit that it tells of, never before. When the outcome of a commit is unknown, the batch is run
again (``group_transaction.py``: repeating records nothing twice); when Postgres refuses one, it is halved until what is
refused is alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.blocks import halves, without_results
from doctrain_coordinator.core.latency import Latency
from doctrain_coordinator.core.ledger import Recorded
from doctrain_coordinator.store import planning
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.tracking.group_transaction import Batch, GroupTransaction
from doctrain_coordinator.tracking.items import Begin, Item, Report
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.observability import telemetry
from doctrain_mesh.pacing import Pace, Pacer
from doctrain_mesh.postgres import OwnConnection
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
COMMIT_SECONDS = 20.0
MOST_WEIGHT = 6_000
"""Of the items in one commit, in documents: more would keep the loop, and so everybody else, for too long. It is at 150,000 documents a
second two or three times what comes while one commits."""


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

    def __init__(self, database: Database, changes: Changes, pace: Pace | None = None) -> None:
        self._database = database
        self._changes = changes
        self._pace = pace or Pace()
        self._pacer = Pacer(self._pace)
        self._items: list[Item] = []
        self._oldest = 0.0
        self._urgent = False
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._transaction = GroupTransaction()
        self._open: OwnConnection | None = None
        self._clock = time.monotonic
        self._latency = Latency()

    @property
    def latency_seconds(self) -> float | None:
        """What a batch took lately until it was committed, its repetitions included; None: there was none."""
        return self._latency.lately(self._clock())

    def submit(self, items: Sequence[Item]) -> None:
        """Queues items for the next commit; their ``answer`` is called after it."""
        if not items:
            return
        if not self._items:
            self._oldest = self._clock()
        self._items.extend(items)
        self._arrived.set()
        if any(item.urgent for item in items) or len(self._items) >= self._pace.enough:
            self._urgent = self._urgent or any(item.urgent for item in items)
            self._hurry.set()

    async def run(self) -> None:
        """Commits until cancelled; a lost Postgres is waited for, with the batch in hand."""
        try:
            while True:
                await self._arrived.wait()
                await self._pause()
                items = self._next()
                self._pacer.started(self._clock())
                self._latency.began(self._clock())
                await self._commit_until_done(items)
                self._latency.ended(self._clock())
        finally:
            if self._open is not None:
                await postgres.close_connection(self._open)

    def _next(self) -> list[Item]:
        """The items of one commit; those that are too many for one stay for the next, which comes at once."""
        weight = count = 0
        while count < len(self._items) and weight < MOST_WEIGHT:
            weight, count = weight + self._items[count].weight, count + 1
        items, self._items = self._items[:count], self._items[count:]
        self._urgent = bool(self._items)
        if not self._items:
            self._arrived.clear()
            self._hurry.clear()
        return items

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

    async def _connected(self) -> OwnConnection:
        if self._open is None:
            self._open = await self._database.connect(
                settings={"application_name": "doctrain commits", **planning.BY_INDEX, **postgres.ended_when_frozen()},
            )
        return self._open

    async def _commit(self, items: Sequence[Item]) -> None:
        c = await self._connected()
        started_ns, started = time.time_ns(), self._clock()
        async with postgres.available("committing results", c), deadline("A commit of results", COMMIT_SECONDS):
            # Not ``transaction()``: on a connection that does not answer, its rollback would wait all over again.
            await c.execute("begin")
            try:
                batch = await self._transaction.run(c, items)
            except postgres.DataError:
                await c.execute("rollback")
                raise
            await c.execute("commit")
        _measure(batch, len(items), self._clock() - started)
        for traceparent in batch.traceparents:
            telemetry.record_span("commit", parent=traceparent, start_ns=started_ns, attributes={"doctrain.items": len(items)})
        for answer in batch.answers:
            answer()
        batch.outcomes.tell()
        self._changes.trainings(batch.trainings, only_counts=not batch.moved)
        if batch.freed:
            self._changes.work()


def _measure(batch: Batch, items: int, seconds: float) -> None:
    metrics.COMMIT_DURATION.record(seconds)
    metrics.COMMIT_ITEMS.record(items)
    metrics.STALE_BLOCKS.add(batch.stale)
    for outcome, count in batch.begins.items():
        metrics.BEGINS.add(count, outcome.name.lower())
