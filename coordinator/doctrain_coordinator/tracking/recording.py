"""Writes results to their documents: the columns of accepted blocks as rows, each recorded once however often it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from doctrain_coordinator.core.blocks import Block
from doctrain_coordinator.core.stages import stored_under_way
from doctrain_coordinator.core.states import DocumentState
from doctrain_coordinator.outcomes import Outcomes
from doctrain_mesh.postgres import Connection, statements

SQL = statements.of(__name__, DocumentState)


@dataclass(slots=True)
class Recording:
    """A block to record, under the number of its hold; then how many of its documents it was the first to tell of."""

    shard: int
    training: int
    number: int
    block: Block
    completed: int = 0
    failed: int = 0

    @property
    def base(self) -> datetime:
        """What the block's times are counted from."""
        return datetime.fromtimestamp(self.block.base_ms / 1000, UTC)

    @property
    def under_way(self) -> str | None:
        """What stands beside the shard of documents that have run for a while."""
        return stored_under_way((ordinal, self.block.base_ms + started, stages) for ordinal, started, stages in self.block.under_way or ())


async def record(c: Connection, recordings: Sequence[Recording], outcomes: Outcomes) -> None:
    """Records what is new of them, and counts it; the rows' shards are locked, and the reports accepted."""
    await _record_done(c, [one for one in recordings if one.block.started], outcomes)
    await _record_failed(c, recordings, outcomes)
    tries = [(one.training, ordinal, one.number, count) for one in recordings for ordinal, count in one.block.tries]
    if tries:
        await c.executemany(SQL["set_tries"], tries)
        outcomes.retried(sum(count - 1 for *_, count in tries))
    passed = [(one.training, ordinal, one.number, stages) for one in recordings for ordinal, stages in one.block.passed]
    if passed:
        await c.executemany(SQL["set_stages"], passed)
    unchanged = [(one.training, one.number, list(one.block.unchanged)) for one in recordings if one.block.unchanged]
    if unchanged:
        outcomes.unchanged(sum(row[0] for row in await c.fetchmany(SQL["record_unchanged"], unchanged)))
    under_way = [(one.shard, one.under_way) for one in recordings if one.block.under_way is not None]
    if under_way:
        await c.executemany(SQL["set_under_way"], under_way)


async def _record_done(c: Connection, recordings: Sequence[Recording], outcomes: Outcomes) -> None:
    if not recordings:
        return
    rows = []
    for one in recordings:
        block = one.block
        started = list(block.started)
        for failure in block.failed:
            started[failure.ordinal - block.first] = -1
        rows.append((one.training, block.first, block.last, one.number, one.base, _array(started), _array(block.took)))
    for one, row in zip(recordings, await c.fetchmany(SQL["record_done"], rows), strict=True):
        one.completed = row[0]
        outcomes.done(row[0])


async def _record_failed(c: Connection, recordings: Sequence[Recording], outcomes: Outcomes) -> None:
    failures = [(one, failure, failure.ordinal - one.block.first) for one in recordings for failure in one.block.failed]
    if not failures:
        return
    rows = [
        (
            one.training,
            failure.ordinal,
            one.number,
            failure.error_class,
            failure.code,
            failure.message,
            one.base,
            one.block.started[place],
            one.block.took[place],
        )
        for one, failure, place in failures
    ]
    for (one, failure, _), row in zip(failures, await c.fetchmany(SQL["record_failed"], rows), strict=True):
        one.failed += row[0]
        if row[0]:
            outcomes.failed(one.training, failure.ordinal, failure.error_class, failure.code)


def _array(numbers: Sequence[int]) -> str:
    """The text that Postgres reads as an array; Python writes that of a list fastest."""
    return f"{{{str(list(numbers))[1:-1]}}}"
