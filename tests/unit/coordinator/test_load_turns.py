"""Loads go on tenant by tenant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.load_turns import LoadFailures, LoadTurn, Rota, choose


def test_a_tenant_with_many_loads_delays_no_other() -> None:
    waiting = [(training, 1) for training in range(100)] + [(100, 2), (101, 3)]
    assert choose(waiting, [], {}, 4) == [(0, 1), (100, 2), (101, 3), (1, 1)]
    assert choose(waiting, [1, 1, 1], {}, 1) == [(100, 2)]


def test_a_turn_ends_for_others_or_for_want_of_documents() -> None:
    turn = LoadTurn(100.0, seconds=10.0, quiet_seconds=60.0)
    assert [turn.over(now, crowded=True) for now in (109.9, 110.0)] == [False, True]
    assert [turn.over(now, crowded=False) for now in (110.0, 159.9, 160.0)] == [False, False, True]
    assert turn.fruitless
    turn.went_on(159.0)
    assert not turn.over(218.9, crowded=False)
    assert turn.over(159.0, crowded=True)
    assert not turn.fruitless


def test_who_waits_longest_goes_first() -> None:
    waiting = [(1, 1), (2, 1), (3, 2), (4, 3)]
    last = {1: 10.0, 3: 5.0}
    assert choose(waiting, [], last, 4) == [(4, 3), (3, 2), (2, 1), (1, 1)]
    assert choose([], [1], last, 4) == []


@given(st.dictionaries(st.integers(1, 40), st.integers(1, 5)), st.lists(st.integers(1, 5), max_size=4), st.integers(0, 6))
def test_no_place_stays_empty_and_nobody_gets_two_before_another_gets_one(of: dict[int, int], loading: list[int], free: int) -> None:
    chosen = choose(of.items(), loading, {}, free)
    assert len(chosen) == len(set(chosen)) == min(free, len(of))
    assert all(of[training] == tenant for training, tenant in chosen)
    busy = {tenant: loading.count(tenant) for tenant in of.values()}
    for training, tenant in chosen:
        left = {of[t] for t in of if (t, of[t]) not in chosen[: chosen.index((training, tenant))]}
        assert busy[tenant] == min(busy[other] for other in left)
        busy[tenant] += 1


def test_a_load_that_fails_rests_longer_each_time_until_something_came_of_it() -> None:
    rota = Rota(2.0, 5.0)
    assert rota.choose([(1, 1), (2, 1)], rota.away(0.0), 1) == [1]
    assert rota.crowded
    assert [rota.failed(1, 10.0) for _ in range(3)] == [LoadFailures(1, 2.0), LoadFailures(2, 4.0), LoadFailures(3, 5.0)]
    rota.ended(1, 10.0)
    assert rota.away(14.9) == [1]
    assert rota.away(15.0) == []
    rota.rest(1, 20.0)
    assert rota.failed(1, 20.0).tries == 4, "a rest for no fault of its own forgets nothing"
    rota.went_on(1)
    assert rota.away(20.0) == []
    assert rota.failed(1, 20.0).tries == 1


def test_a_load_whose_turn_ended_while_others_were_looked_up_is_not_forgotten() -> None:
    rota = Rota(2.0, 5.0)
    assert rota.choose([(1, 1), (2, 1)], rota.away(0.0), 1) == [1]
    away = rota.away(1.0)
    rota.ended(1, 1.5)
    assert rota.choose([(2, 1)], away, 1) == [2]
    assert rota.choose([(1, 1), (3, 1)], rota.away(2.0), 2) == [3], "which had no turn yet"


def test_what_has_ended_is_forgotten() -> None:
    rota = Rota(2.0, 5.0)
    rota.failed(1, 0.0)
    assert rota.choose([(2, 1)], [], 1) == [2]
    assert rota.failed(1, 0.0).tries == 1
