"""Rules of the product broken on purpose, one at a time, to see that the simulation notices. They live here only."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from doctrain_coordinator.core import charging
from doctrain_coordinator.core.ledger import Begun, Ledger
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.dispatch.dispatcher import Term
from doctrain_coordinator.tracking.group_transaction import Batch, GroupTransaction
from doctrain_coordinator.tracking.takeback import TakeBacks
from doctrain_worker.shards.holds import Holds
from doctrain_worker.shards.reports import Reports
from doctrain_worker.tracking.gate import Gate
from simulation import scenario as scenarios
from simulation.machine import Machine
from simulation.scenario import Scenario
from simulation.store import dispatch, statements
from simulation.store.tables import Row, Transaction

Breaking = Callable[[pytest.MonkeyPatch], None]


def fence_accepts_all(patch: pytest.MonkeyPatch) -> None:
    """A report of any hold is recorded."""
    patch.setattr(Ledger, "accepts", lambda self, _session, shard, _number: shard in self.shards)


def acks_at_delivery(patch: pytest.MonkeyPatch) -> None:
    """A message is acked before the tracker has answered."""
    take = Holds.take

    async def early(self: Holds, delivery: Any, group: Any) -> None:
        await delivery.ack()
        await take(self, delivery, group)

    patch.setattr(Holds, "take", early)


def takes_nothing_back(patch: pytest.MonkeyPatch) -> None:
    """A lost session keeps its shards."""

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    patch.setattr(TakeBacks, "take_back", nothing)


def fences_nobody(patch: pytest.MonkeyPatch) -> None:
    """The guardian lets children run past the deadline."""
    _only(patch, "freeze_worker")
    patch.setattr(Machine, "fences", False)
    patch.setattr(Gate, "admits", lambda self, _now: not self.shut)


def redelivery_moves_a_shard(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks last has the shard."""
    begin = Ledger.begin

    def moves(self: Ledger, session: int, shard: int, number: int) -> Begun:
        row = self.shards.get(shard)
        if row is not None and row.number == number and row.state is ShardState.RUNNING:
            row.holder, row.changed = session, True
            row.version = self.trainings[row.training].touch()
        return begin(self, session, shard, number)

    patch.setattr(Ledger, "begin", moves)


def records_what_is_recorded(patch: pytest.MonkeyPatch) -> None:
    """``state = 0`` is not looked at when results are recorded."""
    from simulation.store import commits

    patch.setattr(commits, "_is_open", lambda _row: True)


def grants_are_not_counted_again(patch: pytest.MonkeyPatch) -> None:
    """Two leaders at once trust what each counted before it had the tenant's lock."""
    statements.by_text()
    choose = scenarios.of_seed

    async def uncounted(tx: Transaction, shard: int, width: int, tenant: int) -> list[Row]:
        return await dispatch.grant_within(tx, shard, width, tenant, 10**6)

    def with_two_leaders(draw: random.Random) -> Scenario:
        scenario = choose(draw)
        scenario.two_leaders, scenario.coordinators = True, 3
        return scenario

    patch.setitem(statements._FUNCTIONS, ("dispatch.grants", "grant"), uncounted)
    patch.setattr("simulation.simulation.of_seed", with_two_leaders)


def narrowed_before_its_worker_says_so(patch: pytest.MonkeyPatch) -> None:
    """A running shard is counted for less as soon as its worker is told to run less."""
    statements.by_text()

    async def at_once(tx: Transaction, shard: int, number: int, width: int) -> list[Row]:
        def change(row: Row) -> Row:
            return {"width": width, "resize": row["resize"] + 1}

        await tx.update("shard", shard, lambda row: row["number"] == number and row["state"] in {1, 2} and row["width"] > width, change)
        return []

    patch.setitem(statements._FUNCTIONS, ("dispatch.resizing", "narrow"), at_once)


def says_at_once_that_it_is_narrower(patch: pytest.MonkeyPatch) -> None:
    """A worker confirms a narrower width while more still runs."""
    patch.setattr(Reports, "within", lambda _self, _now, _width: True)


def cancel_frees_slots_at_once(patch: pytest.MonkeyPatch) -> None:
    """A running shard of a cancelled training is CANCELLED before its worker has stopped it."""
    statements.by_text()

    async def at_once(tx: Transaction, training: int, version: int) -> list[Row]:
        for shard in list(tx.shards(training)):
            await tx.update("shard", shard["id"], lambda row: row["state"] in {0, 1, 2}, lambda _: {"state": 5, "version": version})
        return []

    patch.setitem(statements._FUNCTIONS, ("trainings.endings", "end_shards"), at_once)


def publishes_once(patch: pytest.MonkeyPatch) -> None:
    """What the broker loses is never published again."""

    async def never(self: Term) -> None:
        return None

    patch.setattr(Term, "_republish", never)


def closed_streams_lose_their_session_at_once(patch: pytest.MonkeyPatch) -> None:
    """The worker is not given the second in which it fences itself."""
    patch.setattr("doctrain_coordinator.tracking.sessions.GRACE_SECONDS", 0.0)


def results_hold_no_slot(patch: pytest.MonkeyPatch) -> None:
    """A document's slot is free as soon as it has ended, whatever the tracker has heard of it."""
    patch.setattr(Reports, "leaves_slot", lambda self, _now, width: len(self.running) < width)


def trials_beside_others(patch: pytest.MonkeyPatch) -> None:
    """A suspect is tried while other documents run."""

    patch.setattr(Gate, "alone", lambda _self, _given_up: contextlib.nullcontext())


def fences_cost_nothing(patch: pytest.MonkeyPatch) -> None:
    """A worker that fences itself is never charged, however often it does."""
    patch.setattr(charging, "FREE_FENCES", 10**9)


def answers_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Results are answered when they are in the transaction, whatever becomes of its commit."""
    run = GroupTransaction.run

    async def eager(self: GroupTransaction, c: Any, items: Any) -> Batch:
        batch = await run(self, c, items)
        for answer in batch.answers:
            answer()
        return replace(batch, answers=[])

    patch.setattr(GroupTransaction, "run", eager)


def silence_shortens_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A frozen worker whose connection breaks is taken back a second later (docs/adr/0010)."""
    _only(patch, "freeze_worker", "break_stream")
    patch.setattr("doctrain_coordinator.tracking.sessions.QUIET_SECONDS", float("inf"))


def _only(patch: pytest.MonkeyPatch, *events: str) -> None:
    """Nothing else goes wrong, that more often, and many documents take long."""
    choose = scenarios.of_seed

    def with_those(draw: random.Random) -> Scenario:
        scenario = choose(draw)
        scenario.rates, scenario.events, scenario.pause, scenario.slow = {}, list(events), 0.5, 0.3
        return scenario

    patch.setattr("simulation.simulation.of_seed", with_those)


BROKEN: Mapping[str, Breaking] = {
    breaking.__name__: breaking
    for breaking in (
        fence_accepts_all,
        acks_at_delivery,
        takes_nothing_back,
        fences_nobody,
        redelivery_moves_a_shard,
        records_what_is_recorded,
        grants_are_not_counted_again,
        narrowed_before_its_worker_says_so,
        says_at_once_that_it_is_narrower,
        cancel_frees_slots_at_once,
        publishes_once,
        closed_streams_lose_their_session_at_once,
        results_hold_no_slot,
        trials_beside_others,
        fences_cost_nothing,
        answers_before_the_commit,
        silence_shortens_the_lease,
    )
}
