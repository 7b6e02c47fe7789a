"""What is said of a training that waits, and of a message that the broker put aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from doctrain_coordinator.core.dead_letters import DeadGrant, explain
from doctrain_coordinator.core.holding import Facts, KeptOut, Lost, Rule, holds, waiting_reason
from doctrain_coordinator.core.limits import Limit
from doctrain_coordinator.core.progress import sentence
from doctrain_coordinator.core.states import ShardState, TrainingState

IDLE = Facts(
    state=TrainingState.QUEUED,
    paused=False,
    suspended=False,
    sealed=True,
    in_flight=0,
    running=0,
    pending=True,
    limit=Limit(5, 5, 5, 5),
    slots_used=0,
    own_slots=0,
    lanes=12,
    lanes_used=0,
    yield_reason=None,
    yield_seconds=None,
)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({}, [Rule.NEXT]),
        ({"paused": True, "lanes": 0}, [Rule.PAUSED]),
        ({"suspended": True, "paused": True}, [Rule.PAUSED]),
        ({"lanes": 0}, [Rule.NO_WORKER]),
        ({"lanes": 0, "kept_out": KeptOut(unfit=2)}, [Rule.NO_FIT_WORKER]),
        ({"lanes": 0, "kept_out": KeptOut(unfit=2), "in_flight": 1, "pending": False, "broker_answers": True}, [Rule.NO_FIT_WORKER]),
        ({"lanes": 0, "kept_out": KeptOut(unfit=2), "in_flight": 1, "pending": False, "broker_answers": False}, [Rule.BROKER_AWAY]),
        ({"kept_out": KeptOut(unfit=2)}, [Rule.NEXT]),
        ({"lanes": 0, "slots_used": 5}, [Rule.NO_WORKER, Rule.PLAN_LIMIT]),
        ({"slots_used": 5}, [Rule.PLAN_LIMIT]),
        ({"lanes_used": 12}, [Rule.FLEET_FULL]),
        ({"in_flight": 1, "slots_used": 5, "own_slots": 5}, [Rule.HANDED_OUT, Rule.PLAN_LIMIT]),
        ({"in_flight": 1, "pending": False, "broker_answers": True}, [Rule.HANDED_OUT]),
        ({"in_flight": 1, "pending": False, "broker_answers": False}, [Rule.BROKER_AWAY]),
        ({"in_flight": 2, "running": 1, "slots_used": 5, "own_slots": 5, "broker_answers": False}, [Rule.BROKER_AWAY]),
        ({"in_flight": 2, "running": 1, "slots_used": 5, "own_slots": 5, "broker_answers": True}, [Rule.PLAN_LIMIT]),
        ({"pending": False, "yield_reason": "a store is down", "yield_seconds": 8.0}, [Rule.RETRY_LATER]),
        ({"pending": False, "yield_reason": "a store is down", "yield_seconds": -0.4}, [Rule.RETRY_LATER]),  # over, and not yet ended
        ({"pending": False, "sealed": False}, [Rule.LOADING]),
        ({"in_flight": 2, "running": 2, "slots_used": 5, "own_slots": 5}, [Rule.PLAN_LIMIT]),
        ({"in_flight": 2, "running": 2, "pending": False}, []),
        ({"in_flight": 2, "running": 2, "pending": False, "lost": Lost(5, 5)}, [Rule.WORKER_LOST]),
        ({"slots_used": 5, "own_slots": 5, "in_flight": 1, "running": 1, "lost": Lost(5, 5)}, [Rule.WORKER_LOST]),
        ({"slots_used": 7, "lost": Lost(2, 0)}, [Rule.WORKER_LOST, Rule.PLAN_LIMIT]),
        ({"slots_used": 4, "lost": Lost(2, 0)}, [Rule.NEXT]),
        ({"state": TrainingState.COMPLETED, "paused": True}, []),
    ],
)
def test_the_decisive_rule_comes_first(change: dict[str, object], rules: list[Rule]) -> None:
    facts = replace(IDLE, **change)  # type: ignore[arg-type]
    found = holds(facts)
    assert [hold.rule for hold in found] == rules
    assert waiting_reason(facts) == (found[0].sentence if found and not facts.running else "")


def test_what_runs_of_a_paused_training_is_told() -> None:
    paused, running = replace(IDLE, paused=True), {"in_flight": 1, "running": 1}
    assert holds(paused)[0].sentence == "The training is paused."
    assert holds(replace(paused, **running))[0].sentence == "The training is paused; what runs of it ends by itself."  # type: ignore[arg-type]
    assert holds(replace(IDLE, suspended=True, **running))[0].sentence == "The tenant is suspended; what runs of it ends by itself."  # type: ignore[arg-type]


def test_the_plan_is_explained_by_who_uses_it() -> None:
    used = replace(IDLE, slots_used=5)
    assert "the tenant's other trainings" in holds(used)[0].sentence
    assert "this one included" in holds(replace(used, own_slots=2))[0].sentence
    alone = holds(replace(used, own_slots=5))[0]
    assert "by this training" in alone.sentence
    assert "another training" not in alone.advice


def test_what_a_lost_worker_held_is_told_with_its_end() -> None:
    (hold,) = holds(replace(IDLE, in_flight=1, running=1, pending=False, lost=Lost(1, 1, 7.5)))
    assert hold.sentence.startswith("A worker that was counted for 1 document of this training is not heard of any more;")
    assert hold.seconds == 7.5


def test_a_retry_says_when() -> None:
    (hold,) = holds(replace(IDLE, pending=False, yield_reason="a store is down", yield_seconds=8.0))
    assert hold.seconds == 8.0
    assert hold.sentence == "It is tried again in 8 s: a store is down"


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        (None, "no grant"),
        (DeadGrant(9, 3, ShardState.PENDING), "never granted"),
        (DeadGrant(3, 3, ShardState.DONE), "has ended"),
        (DeadGrant(2, 3, ShardState.DISPATCHED), "no longer in force"),
        (DeadGrant(3, 3, ShardState.PENDING), "no longer in force"),
        (DeadGrant(3, 3, ShardState.DISPATCHED), "publishes it again"),
        (DeadGrant(3, 3, ShardState.RUNNING), "holds its shard already"),
    ],
)
def test_a_dead_letter_is_explained(grant: DeadGrant | None, said: str) -> None:
    assert said in explain(grant)


def test_a_pause_shows_in_the_sentence() -> None:
    facts: dict[str, Any] = {"total": 120, "completed": 40, "failed": 1, "sealed": True}
    assert sentence(TrainingState.PROCESSING, **facts, paused=True) == "Paused at 41 of 120 documents; 1 failed."
    assert sentence(TrainingState.PROCESSING, **facts) == "Processing 41 of 120 documents; 1 failed."
    assert sentence(TrainingState.QUEUED, total=1, completed=0, failed=0, sealed=False, paused=True) == (
        "Paused before the start of 1 document read so far."
    )


@pytest.mark.parametrize(
    ("state", "counts", "said"),
    [
        (TrainingState.QUEUED, (23, 0, 0), "Waiting to start 23 documents."),
        (TrainingState.COMPLETED, (1, 1, 0), "Completed 1 document."),
        (TrainingState.COMPLETED_WITH_FAILURES, (1200, 1199, 1), "Completed 1,199 of 1,200 documents; 1 failed."),
        (TrainingState.FAILED, (1, 0, 1), "The document failed."),
        (TrainingState.FAILED, (3, 0, 3), "All 3 documents failed."),
        (TrainingState.FAILED, (5000, 41, 1), "Failed after 42 of 5,000 documents; 1 failed."),
        (TrainingState.CANCELLED, (5, 2, 0), "Cancelled after 2 of 5 documents."),
    ],
)
def test_a_training_is_told_in_a_sentence(state: TrainingState, counts: tuple[int, int, int], said: str) -> None:
    total, completed, failed = counts
    assert sentence(state, total=total, completed=completed, failed=failed, sealed=True) == said


@pytest.mark.parametrize(
    ("kept_out", "told"),
    [
        (KeptOut(cordoned=1), "The one worker that is connected is kept from new work, by an operator; it starts"),
        (
            KeptOut(unsubscribed=2),
            "All 2 workers that are connected are kept from new work, for want of a connection to the message broker;",
        ),
        (KeptOut(1, 0, 2), "All 3 workers that are connected are kept from new work, 1 by an operator, 2 for not being well; it starts"),
    ],
)
def test_it_says_what_keeps_the_workers_from_new_work(kept_out: KeptOut, told: str) -> None:
    assert waiting_reason(replace(IDLE, lanes=0, kept_out=kept_out)).startswith(told)
