"""How many documents at once plans allow: the policy alone, on a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.concurrency import BurstPlan, ConcurrencyPolicy, Decision, Fleet, Marks
from doctrain_coordinator.core.latency import Latency
from doctrain_coordinator.core.limits import Limit

MARKS = Marks(cpu_share=0.9, memory_share=0.8, loop_lag_seconds=2.0, latency_seconds=0.5, wait_seconds=10.0)
IDLE = Fleet(lanes=12, busy=2, told=True, cpu=0.2, memory=0.3, loop_lag=0.0, commit=0.02, confirmation=None, deprived=0)
WAITING = BurstPlan("team", guaranteed=5, burst=20, allowed=5, held_back=1, backlog=40, wait=60.0, most_used=5)
LOOK_SECONDS = 2.0
LANE_SLOTS = 2


class Course:
    """One plan over time, under a policy whose decisions hold."""

    def __init__(self, plan: BurstPlan = WAITING) -> None:
        self.policy, self.plan, self.now = ConcurrencyPolicy(MARKS, LANE_SLOTS), plan, 100.0
        self.decisions: list[Decision] = []

    def look(self, fleet: Fleet, seconds: float) -> list[int]:
        """Looks for so long; answers what was allowed one after the other."""
        allowed: list[int] = []
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            for decision in self.policy.decide(self.now, fleet, [self.plan]):
                assert (decision.plan, decision.before) == (self.plan.name, self.plan.allowed)
                self.plan = replace(self.plan, allowed=decision.after)
                self.decisions.append(decision)
                allowed.append(decision.after)
        return allowed


def test_more_is_allowed_step_by_step_while_work_waits_and_the_machines_bear_it() -> None:
    course = Course()
    assert course.look(IDLE, 4) == [], "it was not looked at for long enough"
    assert course.look(IDLE, 90) == [7, 9, 11, 13, 15, 17, 19, 20]
    assert course.decisions[0].reason == (
        "1 tenant has work that waits at the limit, of trainings up to 60 s old, and the workers bear more: free are 10 of 12 lanes."
    )


def test_a_step_is_a_quarter_of_the_guarantee_and_no_less_than_a_lane_runs() -> None:
    assert Course(replace(WAITING, guaranteed=30, allowed=30, burst=100)).look(IDLE, 8) == [38]
    policy = ConcurrencyPolicy(MARKS, 5)
    decided = [decision for now in range(0, 10, 2) for decision in policy.decide(now, IDLE, [WAITING])]
    assert decided[0].after == 10


def test_a_step_waits_until_what_the_one_before_did_can_be_seen() -> None:
    course = Course()
    course.look(IDLE, 8)
    assert course.look(IDLE, 5) == []


@pytest.mark.parametrize(
    "fleet",
    [
        replace(IDLE, told=False),
        replace(IDLE, told=False, cpu=None, memory=None, loop_lag=None),
        replace(IDLE, busy=12),
        replace(IDLE, lanes=0, busy=0),
        replace(IDLE, cpu=0.8),
        replace(IDLE, memory=0.7),
        replace(IDLE, loop_lag=1.8),
        replace(IDLE, commit=0.45),
        replace(IDLE, confirmation=0.45),
    ],
)
def test_nothing_changes_while_load_is_unknown_or_between_the_marks_or_no_lane_is_free(fleet: Fleet) -> None:
    assert Course().look(fleet, 120) == []
    assert Course(replace(WAITING, allowed=13)).look(fleet, 120) == []


@pytest.mark.parametrize(
    ("fleet", "why"),
    [
        (replace(IDLE, cpu=0.95), "The workers' processors are 95% in use; more than 90% is too much."),
        (replace(IDLE, memory=0.85), "A worker has 85% of its memory in use; more than 80% is too much."),
        (replace(IDLE, loop_lag=2.5, told=False), "A worker's main process was 2.5 s late; more than 2 s is too much."),
        (replace(IDLE, commit=0.75), "A commit of results takes 0.75 s; more than 0.5 s is too much."),
        (replace(IDLE, confirmation=31.0), "The broker's confirmation takes 31.00 s; more than 0.5 s is too much."),
        (replace(IDLE, busy=12, deprived=2), "All 12 lanes are taken, and 2 tenants wait for what is guaranteed to them."),
    ],
)
def test_half_of_what_is_above_the_guarantee_goes_when_it_is_too_much_for_a_while(fleet: Fleet, why: str) -> None:
    course = Course(replace(WAITING, allowed=20))
    assert course.look(fleet, 4) == []
    assert course.look(fleet, 40) == [12, 8, 6, 5]
    assert {decision.reason for decision in course.decisions} == {why}


def test_a_moment_of_too_much_is_none() -> None:
    course = Course(replace(WAITING, allowed=20))
    for _ in range(5):
        assert course.look(replace(IDLE, cpu=1.0), 4) == []
        assert course.look(replace(IDLE, cpu=0.85), 2) == []


def test_after_too_much_it_goes_up_again_only_once_it_is_low_for_a_while() -> None:
    course = Course(replace(WAITING, allowed=20))
    assert course.look(replace(IDLE, cpu=1.0), 8) == [12]
    assert course.look(replace(IDLE, cpu=0.8), 60) == []
    assert course.look(IDLE, 8) == [14]


def test_tenants_that_wait_beside_free_lanes_are_about_to_be_served_and_hold_nothing_back() -> None:
    assert Course().look(replace(IDLE, deprived=3), 8) == [7]


def test_what_nobody_needs_goes_step_by_step_to_the_guarantee_or_what_is_used() -> None:
    course = Course(replace(WAITING, allowed=12, held_back=0, backlog=0, wait=0.0, most_used=8))
    assert course.look(replace(IDLE, told=False), 60) == [10, 8]
    assert course.decisions[0].reason == "No tenant of the plan uses more than 8, and none of their work waits for it."
    course.plan = replace(course.plan, most_used=0)
    assert course.look(IDLE, 60) == [6, 5]


def test_young_work_waits_unless_there_is_more_and_more_of_it() -> None:
    assert Course(replace(WAITING, wait=3.0)).look(IDLE, 60) == []
    course = Course(replace(WAITING, wait=3.0))
    course.look(IDLE, 10)
    course.plan = replace(course.plan, backlog=41)
    assert course.look(IDLE, 2) == [7]
    assert course.look(IDLE, 20) == [], "it grows no more"


def test_a_pinned_plan_is_left_alone_and_a_capped_one_is_kept_below_its_cap() -> None:
    for fleet in (IDLE, replace(IDLE, cpu=1.0)):
        assert Course(replace(WAITING, allowed=13, pinned=True)).look(fleet, 60) == []
    course = Course(replace(WAITING, allowed=13, cap=8))
    assert course.look(IDLE, 60) == [8]
    assert course.decisions[0].reason == "An operator allows at most 8."
    assert Course(replace(WAITING, cap=8)).look(IDLE, 60) == [7, 8]
    assert Course(replace(WAITING, cap=2)).look(IDLE, 60) == [], "a cap below the guarantee holds without the policy"


SHARES = st.one_of(st.none(), st.floats(0, 2))
FLEETS = st.builds(
    Fleet,
    lanes=st.integers(0, 20),
    busy=st.integers(0, 40),
    told=st.booleans(),
    cpu=SHARES,
    memory=SHARES,
    loop_lag=SHARES,
    commit=SHARES,
    confirmation=SHARES,
    deprived=st.integers(0, 3),
)
LOOKS = st.tuples(FLEETS, st.integers(0, 3), st.integers(0, 200), st.floats(0, 100), st.integers(0, 50), st.floats(0, 20))


@given(st.integers(1, 40), st.integers(0, 60), st.none() | st.integers(1, 100), st.lists(LOOKS, max_size=60))
def test_whatever_is_seen_it_stays_between_guarantee_and_burst_and_each_change_has_a_reason(
    guaranteed: int, above: int, cap: int | None, looks: list[tuple[Fleet, int, int, float, int, float]]
) -> None:
    policy, now = ConcurrencyPolicy(MARKS, LANE_SLOTS), 0.0
    plan = BurstPlan("team", guaranteed, guaranteed + above, guaranteed, cap=cap)
    for fleet, held_back, backlog, wait, most_used, seconds in looks:
        now += seconds
        plan = replace(plan, held_back=held_back, backlog=backlog, wait=wait, most_used=most_used)
        for decision in policy.decide(now, fleet, [plan]):
            assert plan.guaranteed <= decision.after <= plan.burst
            assert decision.after != decision.before == plan.allowed
            assert decision.reason.endswith(".")
            if decision.after > decision.before:
                assert fleet.told
                assert decision.after <= max(guaranteed, cap or plan.burst)
            plan = replace(plan, allowed=decision.after)


def test_a_latency_is_the_mean_of_late_and_what_is_under_way_counts_when_it_takes_longer() -> None:
    latency = Latency()
    assert latency.lately(0.0) is None
    for began, ended in ((1.0, 1.2), (2.0, 2.4)):
        latency.began(began)
        latency.ended(ended)
    assert latency.lately(3.0) == pytest.approx(0.3)
    latency.began(3.0)
    latency.began(3.5)
    assert latency.lately(3.1) == pytest.approx(0.3)
    assert latency.lately(4.0) == pytest.approx(1.0)
    latency.ended(4.0)
    assert latency.lately(13.5) == pytest.approx(1.0)
    assert latency.lately(14.5) is None


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (Limit(5, 5, 5, 5), ""),
        (Limit(5, 5, 5, 20), "The plan guarantees them; up to 20 are allowed while work waits and the machines bear it."),
        (Limit(9, 9, 5, 20), "The plan guarantees 5; more are allowed while the machines bear it, up to 20."),
        (Limit(2, 9, 5, 20), "An operator of the mesh set that; the plan itself allows 9 now."),
    ],
)
def test_a_limit_says_why_it_is_that_one(limit: Limit, said: str) -> None:
    assert limit.reason == said
