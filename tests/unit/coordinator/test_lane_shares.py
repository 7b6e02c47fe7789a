"""Lanes of a full fleet: everybody its share, nobody disturbed for nothing."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.lane_shares import KEPT_SECONDS, Demand, LaneUse, Preemption, Waiting, lanes_for, preempt, share

LONG = KEPT_SECONDS + 1


def _demand(tenant: int, running: int = 0, waiting: int = 0, pending: int = 0, **more: float) -> Demand:
    """Of tenant 1 the shards 100 and on, of 2 those of 200, granted in this order."""
    shards = count(100 * tenant)
    seconds = more.get("seconds", LONG)
    return Demand(
        tenant,
        more.get("weight", 1.0),
        more.get("received", 0.0),
        [LaneUse(next(shards), 1, seconds) for _ in range(running)],
        [Waiting(shard := next(shards), 1, shard) for _ in range(waiting)],
        pending,
    )


def test_lanes_are_those_that_the_slots_are_enough_for() -> None:
    assert [lanes_for(slots, [5, 5, 5]) for slots in (-1, 0, 1, 5, 6, 10, 99)] == [0, 0, 1, 1, 2, 2, 3]
    assert lanes_for(5, [1] * 9) == 5


@st.composite
def demands(draw: st.DrawFn) -> list[Demand]:
    few = st.integers(0, 6)
    return [
        _demand(
            tenant,
            draw(few),
            draw(few),
            draw(few),
            weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
            received=draw(st.floats(0, 50)),
            seconds=draw(st.sampled_from([0.0, LONG])),
        )
        for tenant in range(1, draw(st.integers(1, 6)) + 1)
    ]


def test_one_that_comes_to_a_full_fleet_gets_a_lane_and_its_message_comes_first() -> None:
    made = preempt(4, 0, [_demand(1, running=4, waiting=2, pending=50), _demand(2, pending=1)])
    assert made == Preemption(withdrawn=[(104, 1), (105, 1)], yielding=[(100, 1)])


def test_what_was_granted_after_it_is_left_where_it_is_and_nothing_more_is_asked_for_while_a_lane_becomes_free() -> None:
    made = preempt(4, 1, [_demand(3, running=3, waiting=2, pending=50), _demand(2, waiting=1)])
    assert made == Preemption([], [])


def test_nothing_is_taken_where_lanes_are_free_or_nobody_misses_one() -> None:
    assert preempt(8, 0, [_demand(1, running=4, pending=9), _demand(2, waiting=1)]).yielding == []
    assert preempt(4, 0, [_demand(1, running=4, waiting=4, pending=9)]) == Preemption()


def test_shares_follow_weights() -> None:
    wanted = [_demand(1, pending=99), _demand(2, pending=99), _demand(3, pending=99, weight=2.0), _demand(4, pending=99, weight=4.0)]
    assert share(8, wanted) == {1: 1, 2: 1, 3: 2, 4: 4}


def test_what_one_does_not_want_is_for_the_others() -> None:
    assert share(10, [_demand(1, running=1), _demand(2, pending=99)]) == {1: 1, 2: 9}


def test_of_more_tenants_than_lanes_a_shard_keeps_its_lane_for_a_while_and_then_makes_room() -> None:
    waits = _demand(2, waiting=1)
    assert not preempt(1, 0, [_demand(1, running=1, seconds=0.0, received=5.0, pending=9), waits]).yielding
    assert preempt(1, 0, [_demand(1, running=1, received=5.0, pending=9), waits]).yielding == [(100, 1)]
    assert not preempt(1, 0, [_demand(1, running=1, received=5.0), _demand(2, waiting=1, received=6.0)]).yielding


@given(st.integers(0, 12), demands())
def test_shares_fill_the_fleet_and_nobody_gets_more_than_it_wants(lanes: int, wanted: list[Demand]) -> None:
    shares = share(lanes, wanted)
    assert all(shares[demand.tenant] <= demand.wanted for demand in wanted)
    assert sum(shares.values()) == min(lanes, sum(demand.wanted for demand in wanted))


@given(st.integers(0, 12), st.integers(0, 3), demands())
def test_nobody_is_pushed_below_its_share_and_no_more_lanes_are_freed_than_are_missed(lanes: int, told: int, wanted: list[Demand]) -> None:
    made, shares = preempt(lanes, told, wanted), share(lanes, wanted)
    owners = {one.shard: demand.tenant for demand in wanted for one in demand.running}
    waiting = {one.shard: demand.tenant for demand in wanted for one in demand.waiting}
    lost = Counter(owners[shard] for shard, _ in made.yielding)
    for demand in wanted:
        assert not lost[demand.tenant] or len(demand.running) - lost[demand.tenant] >= shares[demand.tenant]
    assert len(made.yielding) <= sum(max(0, shares[demand.tenant] - len(demand.running)) for demand in wanted)
    assert all(
        len(demand.running) >= shares[demand.tenant] for demand in wanted if demand.tenant in {waiting[s] for s, _ in made.withdrawn}
    )
