"""The chaos checker's rules, on evidence that is written here: what they name, and what they let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.checks import parts, rest, slots
from chaos.checks.attempts import FROZEN
from chaos.evidence import Evidence
from chaos.faults.workers import MainFrozen, TreeFrozen
from chaos.world import LEASE_SECONDS
from doctrain_coordinator.dispatch.dispatcher import POLL_SECONDS
from doctrain_coordinator.tracking.lost_sessions import SETTLED_SECONDS


class Written:
    """Evidence in a folder, line by line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def line(self, kind: str, /, **facts: Any) -> None:
        with (self._folder / f"{kind}.jsonl").open("a") as file:
            file.write(json.dumps(facts) + "\n")

    def ran(self, number: int, *at: float, tenant: str = "acme") -> None:
        """A document whose process wrote at these times."""
        facts = {"training": f"{tenant}.t", "number": number, "pid": number, "key": number}
        self.line("ledger", event="start", at=at[0], hash="", **facts)
        for time in at[1:]:
            self.line("ledger", event="tick", at=time, **facts)

    def sample(self, asked: float, at: float, live: str = "{}", **counted: int) -> None:
        """A snapshot, of these slots."""
        slots = json.dumps({tenant: [used, 5] for tenant, used in counted.items()})
        self.line("samples", asked=asked, at=at, ended=0, slots=slots, live=live)

    def fault(self, kind: str, began: float, healed: float, *, alone: bool = True) -> None:
        self.line("faults", kind=kind, victim="worker-1", began=began, made=began, healed=healed, alone=alone, to_heal=True, recovery=0.1)

    def at_rest(self, **facts: object) -> None:
        nothing = {"in_flight": 0, "queue": 0, "dead": 0, "unsettled": 0, "live": {}, "registered": []}
        (self._folder / "rest.json").write_text(json.dumps(nothing | facts))
        (self._folder / "database.json").write_text(json.dumps({"shards": []}))

    @property
    def evidence(self) -> Evidence:
        return Evidence(self._folder)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_more_that_runs_than_is_counted_is_named(written: Written) -> None:
    written.ran(1, 10.0, 10.3, 10.6)
    written.ran(2, 10.1, 10.5)
    written.ran(3, 10.1, 10.5, tenant="other")
    written.sample(10.2, 10.25, acme=1, other=1)
    written.sample(10.3, 10.35, acme=2)
    assert list(slots.never_running_uncounted(written.evidence)) == [
        "2 documents of acme ran at 10.25, where it was counted for 1 slots",
        "1 documents of other ran at 10.35, where it was counted for 0 slots",
    ]


def test_what_starts_or_ends_while_a_snapshot_is_made_may_be_counted_or_not(written: Written) -> None:
    written.ran(1, 10.0, 10.22)
    written.ran(2, 10.21, 10.6)
    written.ran(3, 9.0, 9.2, 11.0, 11.2)  # it stood still in between
    written.sample(10.2, 10.25)
    assert list(slots.never_running_uncounted(written.evidence)) == []


@pytest.mark.parametrize(
    ("kind", "alone", "excused"), [(FROZEN, True, True), (MainFrozen.name, True, False), (MainFrozen.name, False, True)]
)
def test_what_a_freeze_leaves_running_beyond_what_is_promised_is_passed_over(
    written: Written, kind: str, alone: bool, excused: bool
) -> None:
    written.fault(kind, 2.0, 10.2, alone=alone)
    written.ran(1, 10.0, 10.3)
    written.sample(10.1, 10.15)
    assert list(slots.never_running_uncounted(written.evidence)) == (
        [] if excused else ["1 documents of acme ran at 10.15, where it was counted for 0 slots"]
    )


@pytest.mark.parametrize("kind", [MainFrozen.name, TreeFrozen.name])
def test_a_frozen_worker_that_keeps_its_session_is_named(written: Written, kind: str) -> None:
    for tenth in range(200):
        written.sample(tenth / 10, tenth / 10 + 0.01, live='{"worker-1": 7}')
    written.fault(kind, 2.0, 15.0)
    (sentence,) = parts.frozen_workers_are_taken_back(written.evidence)
    assert sentence.startswith("session 7 of worker-1 was live")


def test_a_frozen_worker_whose_blame_was_waited_for_is_not_named(written: Written) -> None:
    frozen, polls = 2.0, 2 * POLL_SECONDS
    for tenth in range(200):
        live = tenth / 10 < frozen + LEASE_SECONDS + polls + SETTLED_SECONDS
        written.sample(tenth / 10, tenth / 10 + 0.01, live='{"worker-1": 7}' if live else "{}")
    written.fault(MainFrozen.name, frozen, 18.0)
    assert list(parts.frozen_workers_are_taken_back(written.evidence)) == []


@pytest.mark.parametrize("what", ["in_flight", "queue", "dead", "unsettled"])
def test_what_is_left_at_rest_is_named(written: Written, what: str) -> None:
    written.at_rest(**{what: 3})
    assert list(rest.nothing_is_left(written.evidence)) == [f"{what}: 3"]


def test_nothing_left_is_well(written: Written) -> None:
    written.at_rest()
    assert list(rest.nothing_is_left(written.evidence)) == []
