"""What is promised, checked at every commit, every start of a document and every ack; and what there is to see at rest.

Numbers I1 to I7 are those of the model that the rules of dispatch were checked with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from simulation.machine import Execution
from simulation.store.statements import in_flight
from simulation.store.tables import Change, Database, Row
from simulation.virtual_loop import virtual_loop

PENDING, DISPATCHED, RUNNING, STOPPING, DONE, CANCELLED = range(6)
_SHARD_MOVES = {
    (PENDING, DISPATCHED),
    (DISPATCHED, PENDING),
    (DISPATCHED, RUNNING),
    (RUNNING, DONE),
    (RUNNING, PENDING),
    (RUNNING, STOPPING),
    (PENDING, CANCELLED),
    (DISPATCHED, CANCELLED),
    (STOPPING, CANCELLED),
}
_TRAINING_MOVES = {(1, 2), (2, 3), (2, 4), (2, 5), (1, 6), (2, 6), (1, 5)}
BATCH_SECONDS = 0.025 + 1e-6
K = 3


class ViolationError(AssertionError):
    """A promise was broken."""


class Ledger:
    """Watches one run. ``note`` writes the event log; the first violation is kept and ends the run."""

    def __init__(self, database: Database, note: Callable[..., None]) -> None:
        self._database, self._note = database, note
        self.violations: list[str] = []
        self.executions: dict[tuple[int, int], list[Execution]] = {}
        self.trial_losses: Counter[tuple[int, int]] = Counter()
        self._running: dict[int, dict[Execution, None]] = {}
        self._holds: dict[tuple[int, int], dict[tuple[int, int], Execution]] = {}
        self._counts: dict[int, Counter[int]] = {}
        self._open: Counter[int] = Counter()
        database.watchers.append(self._committed)

    def violated(self, what: str) -> None:
        """Raised where the run waits, not where it was found: a process would take it for a fault of its own."""
        self._note("VIOLATION", what)
        self.violations.append(what)

    # Executions

    def started(self, execution: Execution) -> None:
        """A document starts in a child."""
        shard, key = self._shard(execution.shard.shard), execution.key
        self._note("start", execution.machine, *key, execution.shard.number)
        running = self._running.setdefault(shard["id"], {})
        running[execution] = None
        self.executions.setdefault(key, []).append(execution)
        self._check_width(shard)
        row = self._database.tables["document"][key]
        if any(other.key == key and other is not execution for other in running):
            self.violated(f"document {key} runs twice at once (I3p)")
        self._check_alone(execution, shard)
        self._check_repeats(execution, shard, row)

    def ended(self, execution: Execution) -> None:
        """It ended, or its child was killed."""
        self._note("end", execution.machine, *execution.key, execution.shard.number, execution.end)
        del self._running[execution.shard.shard][execution]

    def _check_width(self, shard: Row) -> None:
        width = shard["width"] if in_flight(shard) else 0
        running = len(self._running.get(shard["id"], ()))
        if running > width:
            self.violated(f"{running} documents of shard {shard['id']} run, counted for {width} in state {shard['state']} (I3p)")

    def _check_alone(self, execution: Execution, shard: Row) -> None:
        beside = [
            other for held in self._running.values() for other in held if other.machine == execution.machine and other is not execution
        ]
        if shard["trial"] == execution.document.ordinal and shard["number"] == execution.shard.number and beside:
            self.violated(f"document {execution.key} is on trial and not alone")
        for other in beside:
            if self._shard(other.shard.shard)["trial"] == other.document.ordinal and self._shard(other.shard.shard)["state"] == RUNNING:
                self.violated(f"document {execution.key} starts beside the trial of {other.key}")

    def _check_repeats(self, execution: Execution, shard: Row, row: Row) -> None:
        """What a loss repeats is what runs, and at most one report batch: so no more may be begun and unrecorded (promise 5, I5)."""
        hold = self._holds.setdefault((shard["id"], execution.shard.number), {})
        hold[execution.key] = execution
        if row["state"] != 0:
            self.violated(f"document {execution.key} starts though it is recorded (I5)")
        now, documents = virtual_loop().time(), self._database.tables["document"]
        for key in [key for key in hold if documents[key]["state"] != 0]:
            del hold[key]
        counted = [e for e in hold.values() if e.told_at is None or (e.end in {"done", "permanent"} and now - e.told_at > BATCH_SECONDS)]
        if len(counted) > max(1, shard["width"]):
            self.violated(f"a loss of shard {shard['id']} would repeat {len(counted)} documents and a batch; its width is {shard['width']}")

    # Commits

    def _committed(self, changes: list[Change]) -> None:
        by_table: dict[str, list[Change]] = {}
        for change in changes:
            by_table.setdefault(change.table, []).append(change)
        shards_before = {change.key: change.old for change in by_table.get("shard", ()) if change.old is not None}
        trainings_before = {change.key: change.old for change in by_table.get("training", ()) if change.old is not None}
        for change in by_table.get("document", ()):
            self._document(change, shards_before, trainings_before)
        for change in by_table.get("shard", ()):
            self._shard_changed(change)
        for change in by_table.get("training", ()):
            self._training(change)
        for change in by_table.get("session", ()):
            if change.old is None or change.old["state"] != change.new["state"]:
                self._note("session", change.key, change.new["state"])
            if change.old is not None and change.old["state"] == 2:
                self.violated(f"session {change.key} is LOST and was changed")

    def _document(self, change: Change, shards: dict[int, Row], trainings: dict[int, Row]) -> None:
        training, ordinal = change.key
        counts = self._counts.setdefault(training, Counter())
        shard_id = self._shard_of(training, ordinal)
        if change.old is None:
            self._open[shard_id] += 1
            return
        old, new = change.old, change.new
        shard = shards.get(shard_id) or self._shard(shard_id)
        if new["losses"] > old["losses"]:
            self.trial_losses[change.key] += 1
            if shard["trial"] != ordinal:
                self.violated(f"document {change.key} is charged and was not on trial (I7)")
        if new["state"] == old["state"] == 0:
            return
        if old["state"] != 0:
            if any(new[name] != old[name] for name in new if name not in ("tries", "stages", "unchanged")):
                self.violated(f"document {change.key} is recorded twice (I1)")
            return
        self._note("recorded", training, ordinal, new["state"], new["attempt"], new["error_code"])
        counts[new["state"]] += 1
        self._open[shard_id] -= 1
        if shard["state"] != RUNNING or new["attempt"] != shard["number"]:
            self.violated(f"document {change.key} is recorded by attempt {new['attempt']}; its shard is {_brief(shard)} (I1)")
        if (trainings.get(training) or self._database.tables["training"][training])["state"] > 2:
            self.violated(f"document {change.key} is recorded after its training ended (I6)")
        self._check_evidence(change.key, new)

    def _check_evidence(self, key: tuple[int, int], row: Row) -> None:
        if row["error_code"] == "CRASHED_WORKER":
            if self.trial_losses[key] < K:
                self.violated(f"document {key} failed for {self.trial_losses[key]} losses on trial (I7)")
            return
        wanted = {1: {"done"}, 2: {"permanent", "transient"}}[row["state"]]
        if not any(e.shard.number == row["attempt"] and e.end in wanted for e in self.executions.get(key, ())):
            self.violated(f"document {key} is recorded as {row['state']}, and attempt {row['attempt']} has no such end (I1)")

    def _shard_changed(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is None:
            return
        if old["state"] != new["state"]:
            self._note("shard", change.key, new["state"], new["number"], new["holder"], new["width"], list(new["suspects"]), new["losses"])
        if in_flight(old) and in_flight(new) and (old["width"], old["narrow_to"]) != (new["width"], new["narrow_to"]):
            self._note("width", change.key, new["width"], new["narrow_to"], new["resize"])
            if new["width"] > old["width"]:
                self._check_plan(new)
        self._check_move(change.key, old, new)
        self._check_width(new)
        if new["open"] != self._open[change.key]:
            self.violated(f"shard {change.key} counts {new['open']} open documents of {self._open[change.key]} (I1)")
        if new["version"] > self._database.tables["training"][new["training"]]["version"] or new["version"] < old["version"]:
            self.violated(f"shard {change.key} has version {new['version']} after {old['version']}")

    def _check_move(self, key: int, old: Row, new: Row) -> None:
        move = (old["state"], new["state"])
        if old["state"] != new["state"] and move not in _SHARD_MOVES:
            self.violated(f"shard {key} moves from {_brief(old)} to {_brief(new)}")
        if old["state"] == new["state"] == RUNNING and (old["holder"], old["number"]) != (new["holder"], new["number"]):
            self.violated(f"shard {key} changes hands: {_brief(old)} to {_brief(new)}")
        if move == (PENDING, DISPATCHED):
            self._check_plan(new)
            if self._database.tables["training"][new["training"]]["paused"]:
                self.violated(f"shard {key} is granted while its training is paused")
            if new["number"] != old["number"] + 1:
                self.violated(f"shard {key} is granted as number {new['number']} after {old['number']}")
        if new["state"] == RUNNING and old["state"] != RUNNING:
            session = self._database.tables["session"][new["holder"]]
            if session["state"] != 1:
                self.violated(f"shard {key} is begun by session {new['holder']}, which is lost")

    def _check_plan(self, counted: Row) -> None:
        """At a grant and a widening: a plan that is lowered meanwhile binds those whose tenant is locked afterwards."""
        tenant = self._database.tables["tenant"][counted["tenant"]]
        used = sum(row["width"] for row in self._database.tables["shard"].values() if row["tenant"] == tenant["id"] and in_flight(row))
        slots = max(self._database.plans[tenant["plan"]], self._database.limits.get(tenant["id"], 0))
        if used > slots:
            self.violated(f"tenant {tenant['name']} has {used} slots in use, of {slots} (I3)")

    def _training(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is None:
            self._note("training", change.key, new["task_id"], new["total"], new["sealed"])
            return
        if old["state"] != new["state"]:
            self._note("training", change.key, new["state"], new["completed"], new["failed"], new["version"])
            if (old["state"], new["state"]) not in _TRAINING_MOVES:
                self.violated(f"training {change.key} moves from state {old['state']} to {new['state']}")
        if new["version"] != old["version"] + 1:
            self.violated(f"training {change.key} goes from version {old['version']} to {new['version']} (promise 7)")
        counts = self._counts.get(change.key, Counter())
        if (new["completed"], new["failed"]) != (counts[1], counts[2]):
            self.violated(
                f"training {change.key} counts {new['completed']} and {new['failed']} documents of {counts[1]} and {counts[2]} (I1)"
            )

    # Acks

    def acked(self, session: int, shard_id: int, number: int) -> None:
        """A worker in that session acks a message, and the broker forgets it (I2). A STOPPING shard is never begun again."""
        self._note("ack", session, shard_id, number)
        shard = self._shard(shard_id)
        if shard["number"] != number:
            return
        if shard["state"] == DISPATCHED or (shard["state"] == RUNNING and not self._held_by_another(shard, session)):
            self.violated(f"session {session} acks shard {shard_id} ({number}), which is {_brief(shard)} (I2)")

    def _held_by_another(self, shard: Row, session: int) -> bool:
        return bool(shard["holder"] != session and self._database.tables["session"][shard["holder"]]["state"] == 1)

    # Looking up

    def _shard(self, key: int) -> Row:
        return self._database.tables["shard"][key]

    def _shard_of(self, training: int, ordinal: int) -> int:
        for key in self._database.shards_of.get(training, ()):
            row = self._shard(key)
            if row["first"] <= ordinal < row["first"] + row["count"]:
                return key
        raise AssertionError(f"no shard holds document {ordinal} of training {training}")

    @property
    def running(self) -> int:
        """Documents that run anywhere."""
        return sum(map(len, self._running.values()))


def _brief(shard: Row) -> dict[str, Any]:
    return {name: shard[name] for name in ("state", "number", "holder")}
