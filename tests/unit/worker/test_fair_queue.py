"""Who has a child next, and whose turn ends early: by the time that each owner has had."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctrain_worker.core.fair_queue import PATIENCE_SECONDS, FairQueue, Turn


def served(line: FairQueue[str], count: int, seconds: float = 1.0, now: float = 0.0) -> list[str]:
    """Who has a turn, one after the other, each for so long."""
    found = []
    for place in range(count):
        item, turn = line.next(now + place * seconds)
        line.end(turn, now + (place + 1) * seconds)
        found.append(item)
    return found


def test_equal_turns_go_round_and_an_owners_own_come_in_order() -> None:
    line = FairQueue[str](1)
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        line.join(item[0], item, 0.0)
    assert served(line, 6) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not line
    with pytest.raises(LookupError):
        line.next(9.0)


def test_long_turns_are_paid_for_with_many_short_ones_of_others() -> None:
    line = FairQueue[str](1)
    for item in ("long 1", "long 2", *(f"short {number}" for number in range(10))):
        line.join(item.split()[0], item, 0.0)
    long, turn = line.next(0.0)
    line.end(turn, 100.0)
    assert long == "long 1"
    assert served(line, 10, now=100.0) == [f"short {number}" for number in range(10)]
    assert served(line, 1, now=110.0) == ["long 2"]


def test_a_turn_that_lasts_counts_already() -> None:
    line = FairQueue[str](2)
    line.begin("a", 0.0)
    line.begin("b", 0.0)
    line.join("a", "a", 1.0)
    line.join("c", "c", 1.0)
    assert line.next(2.0)[0] == "c"
    assert line.seconds("a", 2.0) == 1.0, "from when somebody waited"


def test_who_was_away_saved_nothing_up() -> None:
    line = FairQueue[str](1)
    for number in range(6):
        line.join("busy", f"busy {number}", 0.0)
    assert served(line, 4, seconds=100.0) == ["busy 0", "busy 1", "busy 2", "busy 3"]
    for number in range(4):
        line.join("late", f"late {number}", 400.0)
    assert sorted(served(line, 4, seconds=100.0, now=400.0)) == ["busy 4", "busy 5", "late 0", "late 1"]


def test_who_leaves_and_comes_back_still_owes() -> None:
    line = FairQueue[str](1)
    line.join("a", "a 1", 0.0)
    for number in range(5):
        line.join("b", f"b {number}", 0.0)
    _, turn = line.next(0.0)
    line.end(turn, 2.5)
    line.join("a", "a 2", 2.5)
    assert served(line, 4, now=2.5) == ["b 0", "b 1", "b 2", "a 2"]


def test_nobody_owes_to_a_line_that_was_empty() -> None:
    line = FairQueue[str](1)
    line.end(line.begin("a", 0.0), 100.0)
    assert line.seconds("a", 100.0) == 0.0


def test_what_nobody_else_wanted_is_free() -> None:
    line, turns = full("alone", "alone", "alone", "other")
    line.join("other", "other", 3600.0)
    line.end(turns[0], 3601.0)
    assert line.next(3601.0)[0] == "other"
    line.join("other", "another", 3602.0)
    for turn in turns[1:3]:
        line.end(turn, 3602.0)
    line.join("alone", "alone", 3602.0)
    for _ in range(2):
        line.next(3602.0)
    line.join("other", "waits", 3602.0)
    line.join("alone", "short", 3602.0)
    assert line.seconds("alone", 3602.0) - line.seconds("other", 3602.0) <= 3.0


def test_who_is_patient_comes_after_all_who_are_not() -> None:
    line = FairQueue[str](1)
    line.join("a", "patient", 0.0, patient=True)
    line.join("b", "b", 1.0)
    line.join("b", "gone", 1.0)
    line.leave("b", "gone", 1.0)
    assert served(line, 2, now=1.0) == ["b", "patient"]


def full(*owners: str, anew: bool = False) -> tuple[FairQueue[str], list[Turn]]:
    """A line whose places are taken by these owners, one second after the other."""
    line = FairQueue[str](len(owners))
    return line, [line.begin(owner, float(number), anew=anew) for number, owner in enumerate(owners)]


def test_the_latest_long_turn_of_who_had_most_is_put_back_for_one_who_has_none() -> None:
    line, turns = full("flood", "other", "flood")
    line.join("small", "small", 10.0)
    assert line.to_put_back(10.0 + PATIENCE_SECONDS - 0.1) is None
    assert line.to_put_back(10.0 + PATIENCE_SECONDS) is turns[2]
    turns[2].put_back = True
    assert line.to_put_back(20.0) is None, "one at a time"
    line.end(turns[2], 20.0)
    assert line.next(20.0)[0] == "small"


def test_a_short_turn_is_not_put_back_nor_one_for_who_has_a_turn_or_is_patient() -> None:
    line, _ = full("a", "b")
    line.join("a", "a", 1.0)
    line.join("c", "c", 1.0, patient=True)
    assert line.to_put_back(100.0) is None
    line, (turn, _) = full("a", "b")
    line.end(turn, 99.0)
    line.begin("a", 99.0, anew=True)
    line.join("c", "c", 90.0)
    line.end(line.begin("b", 99.0), 99.0)
    assert line.to_put_back(100.0) is not None, "that of b, which is long"


def test_what_began_anew_holds_each_place_but_one_in_peace() -> None:
    line, turns = full("a", "b", "a", anew=True)
    line.join("c", "c", 3.0)
    assert line.to_put_back(3.0 + PATIENCE_SECONDS) is turns[2]
    line, _ = full("a", anew=True)
    line.join("c", "c", 3.0)
    assert line.to_put_back(100.0) is None, "long work ends somewhere"
    line, turns = full("a")
    line.join("c", "c", 3.0)
    assert line.to_put_back(100.0) is turns[0]


@given(
    places=st.integers(1, 4),
    owners=st.lists(st.lists(st.floats(0.01, 300.0), min_size=1, max_size=12), min_size=2, max_size=4),
)
def test_owners_who_wait_all_the_time_are_no_further_apart_than_one_longest_turn_a_place(places: int, owners: list[list[float]]) -> None:
    line = FairQueue[float](places)
    left = {owner: len(turns) for owner, turns in enumerate(owners)}
    for owner, turns in enumerate(owners):
        for seconds in turns:
            line.join(owner, seconds, 0.0)
    longest = max(map(max, owners))
    now, ends = 0.0, list[tuple[float, Turn]]()
    while line:
        while line and not line.is_full:
            seconds, turn = line.next(now)
            left[turn.owner] -= 1  # type: ignore[index]
            ends.append((now + seconds, turn))
        had = [line.seconds(owner, now) for owner, waiting in left.items() if waiting]
        assert not had or max(had) - min(had) <= places * longest + 1e-6
        ends.sort(key=lambda end: end[0])
        now, turn = ends.pop(0)
        line.end(turn, now)


@pytest.mark.parametrize(("places", "loops", "each"), [(2, 1, 12), (2, 3, 4), (4, 3, 12)])
def test_a_newcomer_never_waits_long_however_many_loops_others_have(places: int, loops: int, each: int) -> None:
    line = FairQueue[None](places)
    for owner in range(loops * each):
        line.join(f"loop {owner % loops}", None, 0.0)
    running, came, waited = list[Turn](), 0.0, list[float]()
    for now in map(float, range(700)):
        for turn in [turn for turn in running if turn.owner == "new" or turn.put_back or now - turn.began >= 300.0]:
            running.remove(turn)
            line.end(turn, now)
            line.join(turn.owner, None, now, anew=turn.put_back)
            came = now if turn.owner == "new" else came
        if now == 20.0:
            came = now
            line.join("new", None, now)
        while line and not line.is_full:
            running.append(line.next(now)[1])
            waited += [now - came] if running[-1].owner == "new" else []
        found = line.to_put_back(now)
        if found is not None:
            found.put_back = True
    assert len(waited) > 50
    assert max(waited) <= (1 + loops) * (PATIENCE_SECONDS + 1.0)
