"""Which workers are kept from new work for their health: never too many, never for what is not known, and not back and forth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctrain_coordinator.core.health import FEWEST_TRIES, FIT, LONGEST_WELL_SECONDS, Fitness, HealthLimits, HealthPolicy, Sight
from doctrain_coordinator.core.load import Load

LIMITS = HealthLimits(
    memory_share=0.9,
    disk_free_share=0.05,
    loop_lag_seconds=2.0,
    failure_share=0.5,
    stuck_seconds=100.0,
    ill_seconds=10.0,
    well_seconds=30.0,
    out_share=0.5,
)
WELL = Load(memory_share=0.4, disk_free_share=0.5, loop_lag_seconds=0.01, documents_running=2, tries_in_last_minute=50, failure_share=0.0)
ILL = replace(WELL, loop_lag_seconds=5.0)
STEP = 2.0
LOADS = st.sampled_from([None, WELL, ILL])


class Fleet:
    """Workers that a policy looks at every STEP seconds; its verdicts stand at the next look, as in Postgres."""

    def __init__(self, size: int, limits: HealthLimits = LIMITS) -> None:
        self.policy, self.now, self.ended = HealthPolicy(limits), 0.0, 0
        self.standing = dict.fromkeys(range(size), FIT)

    def look(self, loads: list[Load | None], kept_out: frozenset[int] = frozenset(), *, progress: bool = True) -> dict[int, Fitness]:
        """One look at all."""
        self.now += STEP
        self.ended += progress
        fleet = [
            Sight(f"w{n}", n, self.standing[n], n in kept_out, None if load is None else replace(load, documents_ended=self.ended))
            for n, load in enumerate(loads)
        ]
        self.standing = self.policy.judge(self.now, fleet)
        return self.standing

    def until(self, load: Load | None, *, unfit: bool) -> float:
        """Of two workers the first says that, until it is so; how long that took."""
        began = self.now
        while (self.look([load, WELL])[0].unfit is not None) is not unfit:
            assert self.now - began < 4 * LONGEST_WELL_SECONDS
        return self.now - began


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (replace(WELL, memory_share=0.97), "97% of its memory is in use; more than 90% is too much."),
        (replace(WELL, disk_free_share=0.01), "1.0% of its disk is free; less than 5.0% is too little."),
        (ILL, "Its main process was 5.0 s late; more than 2 s is too much."),
        (replace(WELL, failure_share=0.75), "75% of its tries of a minute crashed or reached a limit; more than 50% is too much."),
    ],
)
def test_a_worker_that_is_ill_for_a_while_is_out_with_the_reason_and_back_when_it_was_well_for_a_while(load: Load, said: str) -> None:
    fleet = Fleet(2)
    assert fleet.until(load, unfit=True) == pytest.approx(LIMITS.ill_seconds + STEP)
    assert fleet.standing == {0: Fitness(said), 1: FIT}
    assert fleet.until(WELL, unfit=False) == pytest.approx(LIMITS.well_seconds + STEP)


def test_a_worker_whose_documents_never_end_is_stuck_and_one_without_documents_is_not() -> None:
    busy, idle = Fleet(2), Fleet(2)
    for _ in range(60):
        verdict = busy.look([WELL, None], progress=False)[0]
        assert idle.look([replace(WELL, documents_running=0), None], progress=False)[0] is FIT
    assert verdict.unfit is not None
    assert verdict.unfit.startswith("It runs documents, and none has ended for ")


def test_a_moment_is_no_illness_and_few_failures_say_nothing() -> None:
    fleet = Fleet(2)
    for number in range(100):
        assert fleet.look([ILL if number % 4 else WELL, None])[0] is FIT
    few = replace(WELL, failure_share=1.0, tries_in_last_minute=FEWEST_TRIES - 1)
    for _ in range(30):
        assert fleet.look([few, None])[0] is FIT


def test_just_below_the_limit_is_not_yet_well() -> None:
    fleet = Fleet(2)
    fleet.until(ILL, unfit=True)
    for _ in range(200):
        assert fleet.look([replace(WELL, loop_lag_seconds=1.9), WELL])[0].unfit is not None


def test_each_relapse_doubles_the_time_that_it_must_be_well_up_to_an_hour_and_a_long_health_forgives() -> None:
    fleet, took = Fleet(2), []
    for _ in range(10):
        fleet.until(ILL, unfit=True)
        took.append(fleet.until(WELL, unfit=False) - STEP)
    assert took == pytest.approx([min(LONGEST_WELL_SECONDS, LIMITS.well_seconds * 2**n) for n in range(10)])
    for _ in range(int(10 * LONGEST_WELL_SECONDS / STEP) + 2):
        fleet.look([WELL, WELL])
    fleet.until(ILL, unfit=True)
    assert fleet.until(WELL, unfit=False) - STEP == pytest.approx(LIMITS.well_seconds)


def test_who_is_ill_when_too_many_are_works_all_the_same_and_takes_the_place_of_who_recovers() -> None:
    fleet = Fleet(2)
    for _ in range(20):
        fleet.look([ILL, ILL])
    assert sorted(verdict.spared for verdict in fleet.standing.values()) == [False, True]
    (out,) = [n for n, verdict in fleet.standing.items() if not verdict.spared]
    for _ in range(40):
        fleet.look([WELL if n == out else ILL for n in range(2)])
    assert fleet.standing[out] is FIT
    assert not fleet.standing[1 - out].spared


def test_what_operators_took_out_counts_and_one_worker_always_works() -> None:
    fleet = Fleet(4)
    for _ in range(20):
        fleet.look([ILL, ILL, ILL, WELL], frozenset({3}))
    assert sum(not verdict.spared for n, verdict in fleet.standing.items() if n != 3) == 1
    alone = Fleet(1, replace(LIMITS, out_share=1.0))
    for _ in range(20):
        alone.look([ILL])
    assert alone.standing[0].spared


def test_a_leader_that_begins_goes_by_the_verdicts_that_stand_and_another_session_begins_fit() -> None:
    policy, standing = HealthPolicy(LIMITS), Fitness("It was late.")
    assert policy.judge(0.0, [Sight("a", 1, standing, False, None), Sight("b", 2, FIT, False, WELL)])[1] == standing
    assert policy.judge(1.0, [Sight("a", 3, FIT, False, ILL), Sight("b", 2, FIT, False, WELL)])[3] is FIT


@given(st.lists(st.tuples(LOADS, LOADS, LOADS, LOADS, LOADS), min_size=1, max_size=120), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_whatever_they_say_the_floor_holds(course: list[tuple[Load | None, ...]], share: float) -> None:
    fleet = Fleet(5, replace(LIMITS, ill_seconds=0.0, well_seconds=4.0, out_share=share))
    for loads in course:
        verdicts = fleet.look(list(loads))
        out = sum(verdict.unfit is not None and not verdict.spared for verdict in verdicts.values())
        assert out <= min(int(share * 5), 4)
        if any(verdict.spared for verdict in verdicts.values()):
            assert out == min(int(share * 5), 4), "nobody is spared for nothing"


@given(st.lists(LOADS, max_size=60), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_what_is_not_known_changes_no_verdict(course: list[Load | None], silence: int) -> None:
    fleet = Fleet(2, replace(LIMITS, ill_seconds=4.0, well_seconds=6.0))
    for load in course:
        fleet.look([load, WELL])
    before = fleet.standing[0]
    for _ in range(silence):
        assert fleet.look([None, WELL])[0] == before


@given(st.lists(st.sampled_from([WELL, ILL]), max_size=300))
@settings(max_examples=60, deadline=None)
def test_a_worker_that_is_out_stays_so_for_as_long_as_its_relapses_say(course: list[Load]) -> None:
    fleet, least = Fleet(2, replace(LIMITS, ill_seconds=0.0, well_seconds=4.0)), 4.0
    out_since = fit_since = float("-inf")
    was_out = False
    for load in course:
        is_out = fleet.look([load, WELL])[0].unfit is not None
        if is_out and not was_out:
            least = 2 * least if fleet.now - fit_since <= 10 * least else 4.0
            out_since = fleet.now
        elif was_out and not is_out:
            assert fleet.now - out_since >= least
            fit_since = fleet.now
        was_out = is_out
