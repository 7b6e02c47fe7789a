"""The ledger of group commits against a small model: one training, two shards, two sessions, any order of messages."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from doctrain_coordinator.core.ledger import Begun, Ledger, ShardRow, TrainingRow
from doctrain_coordinator.core.states import ShardState, TrainingState

COUNT = 4
SHARDS = st.sampled_from([1, 2])
SESSIONS = st.sampled_from([7, 8])
NUMBERS = st.sampled_from([0, 1, 2])


class Commits(RuleBasedStateMachine):
    """The rows live here between commits, as in Postgres; documents are sets of open ordinals a shard."""

    @initialize(sealed=st.booleans())
    def begin_with(self, sealed: bool) -> None:
        self.training = TrainingRow(1, TrainingState.QUEUED, sealed, 2 * COUNT, 0, 0, 1)
        self.shards = {n: ShardRow(n, 1, ShardState.PENDING, 0, None, COUNT) for n in (1, 2)}
        self.open = {n: set(range(n * 10, n * 10 + COUNT)) for n in (1, 2)}
        self.live = {7, 8}
        self.recorded = 0

    def ledger(self) -> Ledger:
        t = self.training
        self.training = TrainingRow(t.id, t.state, t.sealed, t.total, t.completed, t.failed, t.version)
        self.shards = {
            s.id: ShardRow(s.id, s.training, s.state, s.number, s.holder, s.open, s.suspects, s.trial) for s in self.shards.values()
        }
        return Ledger([self.training], self.shards.values(), self.live)

    @rule(shard=SHARDS)
    def grant(self, shard: int) -> None:
        row = self.shards[shard]
        if row.state is ShardState.PENDING and not self.training.state.ended:
            row.state, row.number, row.holder = ShardState.DISPATCHED, row.number + 1, None

    @rule(shard=SHARDS)
    def take_back(self, shard: int) -> None:
        row = self.shards[shard]
        if row.state is ShardState.RUNNING:
            row.state, row.holder, row.trial = ShardState.PENDING, None, None
            row.suspects = tuple(sorted(self.open[shard]))[:1]

    @rule(session=SESSIONS)
    def lose(self, session: int) -> None:
        for shard, row in self.shards.items():
            if row.holder == session:
                self.take_back(shard)
        self.live.discard(session)

    @rule()
    def cancel(self) -> None:
        if self.training.state.ended or self.recorded < COUNT:
            return
        self.training.state = TrainingState.CANCELLED
        for row in self.shards.values():
            if row.state in {ShardState.PENDING, ShardState.DISPATCHED}:
                row.state = ShardState.CANCELLED
            elif row.state is ShardState.RUNNING:
                row.state = ShardState.STOPPING

    @rule(session=SESSIONS, shard=SHARDS, number=NUMBERS)
    def begin(self, session: int, shard: int, number: int) -> None:
        before = self.shards[shard]
        mine = before.state is ShardState.RUNNING and before.holder == session and before.number == number
        free = before.state is ShardState.DISPATCHED and before.number == number and not self.training.state.ended
        version = self.training.version
        ledger = self.ledger()
        answer = ledger.begin(session, shard, number)
        self.training.settle()
        if session not in self.live:
            assert answer is Begun.SESSION_LOST
        else:
            assert (answer is Begun.BEGUN) == (mine or free)
        assert (self.shards[shard].holder, self.shards[shard].state) == (
            (session, ShardState.RUNNING) if answer is Begun.BEGUN else (before.holder, before.state)
        )
        assert (self.training.version > version) == (answer is Begun.BEGUN and not mine)
        if answer is Begun.BEGUN:
            assert self.training.state is TrainingState.PROCESSING

    @rule(session=SESSIONS, shard=SHARDS, number=NUMBERS, ended=st.sets(st.integers(0, COUNT - 1)), fails=st.booleans())
    def report(self, session: int, shard: int, number: int, ended: set[int], fails: bool) -> None:
        before = self.shards[shard]
        holds = before.holder == session and before.number == number and number > 0
        ledger = self.ledger()
        if not ledger.accepts(session, shard, number):
            assert not (holds and before.state is ShardState.RUNNING)
            assert ledger.already_done(session, shard, number) == (holds and before.state is ShardState.DONE)
            return
        assert holds
        assert before.state is ShardState.RUNNING
        reported = {shard * 10 + place for place in ended}
        fresh = reported & self.open[shard]
        self.open[shard] -= fresh
        self.recorded += len(fresh)
        counts = {"completed": 0, "failed": len(fresh)} if fails else {"completed": len(fresh), "failed": 0}
        done = ledger.record(shard, **counts, reported=lambda: sorted(reported), running=sorted(self.open[shard])[:2])
        self.training.settle()
        assert done == (not self.open[shard])
        assert not set(self.shards[shard].suspects) & reported

    @invariant()
    def rows_and_counts_agree(self) -> None:
        if not hasattr(self, "training"):
            return
        assert self.training.completed + self.training.failed == self.recorded
        for shard, row in self.shards.items():
            assert row.open == len(self.open[shard])
            assert (row.state is ShardState.DONE) == (row.open == 0)
            assert row.state is not ShardState.RUNNING or row.holder in self.live
        if self.training.sealed and self.recorded == 2 * COUNT:
            assert self.training.state.ended
        if self.training.state in {TrainingState.COMPLETED, TrainingState.COMPLETED_WITH_FAILURES, TrainingState.FAILED}:
            assert self.recorded == 2 * COUNT


TestCommits = Commits.TestCase
