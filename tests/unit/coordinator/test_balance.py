"""Shards between workers: nobody idle beside one that has everything, nothing moved for nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.balance import SETTLED_SECONDS, ShardInLane, Worker, balance


def _worker(lanes: int, running: int, *, first: int = 1, left: int = 10, seconds: float = SETTLED_SECONDS, yielding: int = 0) -> Worker:
    return Worker(lanes, [ShardInLane(first + place, 1, left + place, seconds, place < yielding) for place in range(running)])


def _told(fleet: list[Worker], moved: list[tuple[int, int]]) -> list[Worker]:
    """The fleet when those were told to yield and their documents in flight have not ended."""
    return [
        Worker(worker.lanes, [replace(one, yields=one.yields or (one.shard, one.number) in moved) for one in worker.running])
        for worker in fleet
    ]


@st.composite
def fleets(draw: st.DrawFn) -> list[Worker]:
    lanes = st.integers(1, 6)
    return [
        _worker(size := draw(lanes), draw(st.integers(0, size)), first=100 * place, seconds=draw(st.sampled_from([0.0, SETTLED_SECONDS])))
        for place in range(draw(st.integers(0, 5)))
    ]


def test_a_worker_that_joins_gets_its_share_and_those_with_the_most_left_go() -> None:
    assert balance([_worker(6, 6), _worker(6, 0)]) == [(4, 1), (5, 1), (6, 1)]
    assert balance([_worker(6, 2), _worker(6, 0)]) == [(2, 1)]


def test_lanes_count() -> None:
    assert balance([_worker(4, 4), _worker(2, 0)]) == [(4, 1)]
    assert balance([_worker(4, 4), _worker(1, 0)]) == []
    assert balance([_worker(1, 1), _worker(9, 3, first=100)]) == []


def test_what_differs_by_one_and_what_has_just_begun_stays() -> None:
    assert balance([_worker(6, 1), _worker(6, 0)]) == []
    assert balance([_worker(6, 3), _worker(6, 2, first=100)]) == []
    assert balance([_worker(6, 6, seconds=SETTLED_SECONDS - 1), _worker(6, 0)]) == []
    assert balance([]) == []


def test_what_was_told_to_yield_counts_as_gone_to_who_has_the_least() -> None:
    assert balance([_worker(6, 6, yielding=1), _worker(6, 0)]) == [(5, 1), (6, 1)]
    assert balance([_worker(6, 6, yielding=3), _worker(6, 0)]) == []
    assert balance([_worker(6, 6, yielding=6), _worker(6, 0)]) == []
    assert balance([_worker(6, 4, yielding=1), _worker(6, 3, first=100)]) == []


@given(fleets())
def test_those_that_settle_later_follow_and_none_too_many_move(fleet: list[Worker]) -> None:
    first = balance(fleet)
    fleet = [Worker(worker.lanes, [replace(one, seconds=SETTLED_SECONDS) for one in worker.running]) for worker in _told(fleet, first)]
    second = balance(fleet)
    assert not set(first) & set(second), "no shard moves twice"
    assert balance(_told(fleet, second)) == []


@given(fleets())
def test_afterwards_nothing_more_is_to_move(fleet: list[Worker]) -> None:
    moved = set(balance(fleet))
    assert moved <= {(one.shard, one.number) for worker in fleet for one in worker.running if one.seconds >= SETTLED_SECONDS}
    counts = [sum((one.shard, one.number) not in moved for one in worker.running) for worker in fleet]
    taken = len(moved)
    while taken:  # by whoever has the most room, as the queue would have it at best
        place = min(range(len(fleet)), key=lambda place: (counts[place] + 1) / fleet[place].lanes)
        assert counts[place] < fleet[place].lanes, "there is a lane for each that moves"
        counts[place] += 1
        taken -= 1
    after = [
        Worker(worker.lanes, [ShardInLane(1000 * place + n, 1, 1, SETTLED_SECONDS) for n in range(count)])
        for place, (worker, count) in enumerate(zip(fleet, counts, strict=True))
    ]
    if all(one.seconds >= SETTLED_SECONDS for worker in fleet for one in worker.running):
        assert balance(after) == []
