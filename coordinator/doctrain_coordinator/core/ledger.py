"""What one group commit does to the trainings and shards that it has locked (docs/protocol.md, "BeginShard", "Report").

A ledger is filled with the locked rows, asked about each begin and block, told what Postgres recorded, and read out for
the rows to write. It holds no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from doctrain_coordinator.core.states import ShardState, TrainingState, after_counts


class Begun(Enum):
    """The answer to a begin."""

    BEGUN = 1
    NOT_YOURS = 2
    SESSION_LOST = 3


class Recorded(Enum):
    """The answer to a block. INVALID: what of it is of the shard is recorded, but some of it is not of the shard at all."""

    RECORDED = 1
    STALE = 2
    INVALID = 3


@dataclass(slots=True)
class TrainingRow:
    """A locked training; ``completed`` and ``failed`` are moved on by what is recorded. ``moved``: its state, by this transaction."""

    id: int
    state: TrainingState
    sealed: bool
    total: int
    completed: int
    failed: int
    version: int
    task_id: str = ""
    changed: bool = False
    begun: bool = False
    moved: bool = False

    @property
    def ended(self) -> bool:
        """Whether this transaction ended it."""
        return self.moved and self.state.ended

    def touch(self) -> int:
        """Raises the version once a commit and answers it."""
        if not self.changed:
            self.changed = True
            self.version += 1
        return self.version

    def settle(self) -> None:
        """Moves the state on after all of a commit is recorded."""
        found = self.state
        if self.begun and found is TrainingState.QUEUED:
            self.state = TrainingState.PROCESSING
        self.state = after_counts(self.state, sealed=self.sealed, total=self.total, completed=self.completed, failed=self.failed)
        self.moved = self.state is not found


@dataclass(slots=True)
class ShardRow:
    """A locked shard; ``suspects`` and ``running`` are ordinals. ``cleared``: its last suspect ended in this commit."""

    id: int
    training: int
    state: ShardState
    number: int
    holder: int | None
    open: int
    suspects: Sequence[int] = ()
    trial: int | None = None
    running: Sequence[int] = ()
    version: int = 0
    changed: bool = False
    cleared: bool = False


class Ledger:
    """The rows of one commit. Rows that do not exist any more are simply not there: nothing of theirs is recorded."""

    def __init__(self, trainings: Iterable[TrainingRow], shards: Iterable[ShardRow], live_sessions: Iterable[int]) -> None:
        self.trainings = {row.id: row for row in trainings}
        self.shards = {row.id: row for row in shards}
        self._live = frozenset(live_sessions)

    def begin(self, session: int, shard: int, number: int) -> Begun:
        """Gives a dispatched shard to ``session``; its holder's own repetition gets the same answer."""
        if session not in self._live:
            return Begun.SESSION_LOST
        row = self.shards.get(shard)
        if row is None or row.number != number:
            return Begun.NOT_YOURS
        training = self.trainings.get(row.training)
        if training is None or training.state.ended:
            return Begun.NOT_YOURS
        if row.state is ShardState.RUNNING and row.holder == session:
            return Begun.BEGUN
        if row.state is not ShardState.DISPATCHED:
            return Begun.NOT_YOURS
        row.state, row.holder, row.running, row.trial = ShardState.RUNNING, session, (), None
        training.begun = True
        self._touch(row, training)
        return Begun.BEGUN

    def accepts(self, session: int, shard: int, number: int) -> bool:
        """Whether a report of that hold may be recorded: the fence."""
        row = self.shards.get(shard)
        if row is None or row.number != number or row.holder != session or row.state is not ShardState.RUNNING:
            return False
        training = self.trainings.get(row.training)
        return training is not None and not training.state.ended

    def already_done(self, session: int, shard: int, number: int) -> bool:
        """Whether that same hold finished the shard: a repeated last report, not a stale one."""
        row = self.shards.get(shard)
        return row is not None and row.number == number and row.holder == session and row.state is ShardState.DONE

    def record(self, shard: int, *, completed: int, failed: int, reported: Callable[[], Sequence[int]], running: Sequence[int]) -> bool:
        """Counts what Postgres recorded of an accepted block; answers whether the shard is done. ``reported`` is asked where it matters."""
        row = self.shards[shard]
        training = self.trainings[row.training]
        training.completed += completed
        training.failed += failed
        row.open -= completed + failed
        row.running = running
        if row.suspects or row.trial is not None:
            ended = set(reported())
            suspects = tuple(o for o in row.suspects if o not in ended)
            row.cleared = bool(row.suspects) and not suspects
            row.suspects = suspects
            if row.trial in ended:
                row.trial = None
        if row.open == 0:
            row.state, row.running, row.trial = ShardState.DONE, (), None
        self._touch(row, training)
        return row.state is ShardState.DONE

    @staticmethod
    def _touch(row: ShardRow, training: TrainingRow) -> None:
        row.changed = True
        row.version = training.touch()
