"""Leases by the leader's own clock, and losses that are nobody's fault."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from doctrain_coordinator.core.observation import Lapse, Observer, Sighting

LEASE, GAP = 10.0, 2.5


def watch(observer: Observer, start: float, end: float, *sightings: Sighting) -> list[Lapse]:
    lapses: list[Lapse] = []
    now = start
    while now <= end:
        lapses = observer.observe(now, sightings)
        now += 1
    return lapses


def test_a_beat_that_stands_still_for_the_lease_lapses_and_is_charged() -> None:
    observer, seen = Observer(LEASE, GAP), Sighting(1, 7, 1)
    assert watch(observer, 100, 109, seen) == []
    assert watch(observer, 110, 110, seen) == [Lapse(seen, charged=True)]


def test_a_beat_or_a_new_stream_begins_the_lease_anew() -> None:
    for fresh in (Sighting(1, 8, 1), Sighting(1, 7, 2)):
        observer = Observer(LEASE, GAP)
        watch(observer, 100, 105, Sighting(1, 7, 1))
        assert watch(observer, 106, 115, fresh) == []
        assert watch(observer, 116, 116, fresh) == [Lapse(fresh, charged=True)]


def test_a_lease_with_a_gap_in_it_is_not_charged() -> None:
    observer, seen = Observer(LEASE, GAP), Sighting(1, 7, 1)
    watch(observer, 100, 103, seen)
    assert watch(observer, 111, 111, seen) == [Lapse(seen, charged=False)]
    again = Sighting(1, 8, 1)
    watch(observer, 112, 121, again)
    assert watch(observer, 122, 122, again) == [Lapse(again, charged=True)]


def test_a_session_that_is_gone_is_forgotten() -> None:
    observer = Observer(LEASE, GAP)
    watch(observer, 100, 105, Sighting(1, 7, 1))
    watch(observer, 106, 106)
    assert watch(observer, 107, 112, Sighting(1, 7, 1)) == []


@given(st.lists(st.tuples(st.floats(0.05, 4), st.booleans()), max_size=40))
def test_nobody_lapses_before_the_lease_has_passed(steps: list[tuple[float, bool]]) -> None:
    observer, now, beat, since = Observer(LEASE, GAP), 0.0, 0, None
    for pause, beats in steps:
        now += pause
        if beats or since is None:
            beat, since = beat + 1, now
        lapses = observer.observe(now, [Sighting(1, beat, 1)])
        assert bool(lapses) == (now - since >= LEASE)


class Leases(RuleBasedStateMachine):
    """A leader that looks at sessions which beat, move, vanish and stand still, with gaps in its sight."""

    def __init__(self) -> None:
        super().__init__()
        self.observer = Observer(LEASE, GAP)
        self.now = 50.0
        self.looked: float | None = None
        self.live: dict[int, Sighting] = {}
        self.seen: dict[int, tuple[Sighting, float, bool]] = {}

    @rule(session=st.integers(1, 3), moves=st.booleans())
    def says_something(self, session: int, moves: bool) -> None:
        old = self.live.get(session, Sighting(session, 0, 1))
        self.live[session] = Sighting(session, old.beat + (not moves), old.attached + moves)

    @rule(session=st.integers(1, 3))
    def vanishes(self, session: int) -> None:
        self.live.pop(session, None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, GAP, 4.0, LEASE]))
    def the_leader_looks(self, seconds: float) -> None:
        self.now += seconds
        blind = self.looked is not None and self.now - self.looked > GAP
        self.looked = self.now
        expected = []
        seen = {}
        for session, sighting in self.live.items():
            before = self.seen.get(session)
            if before is None or before[0] != sighting:
                seen[session] = sighting, self.now, False
            else:
                seen[session] = sighting, before[1], before[2] or blind
            if self.now - seen[session][1] >= LEASE:
                expected.append(Lapse(sighting, charged=not seen[session][2]))
        self.seen = seen
        assert self.observer.observe(self.now, self.live.values()) == expected


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
