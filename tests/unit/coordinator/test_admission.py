"""Grants: never above a plan, never idle without need, fair by weight."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from doctrain_coordinator.core.admission import MOST_OVER, Backlog, Claim, Grant, Pending, choose, in_turn, room_for, width_of

LANE_SLOTS = 5
PLACES = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """What a tenant claims, and its backlogs."""

    claim: Claim
    backlogs: Sequence[Backlog]


def chosen(wanted: Sequence[Wanted], room: int, places: int = PLACES) -> list[Grant]:
    return choose([one.claim for one in wanted], {one.claim.tenant: one.backlogs for one in wanted}, room, places, LANE_SLOTS)


@st.composite
def claims(draw: st.DrawFn) -> list[Wanted]:
    numbers = iter(range(1, 10_000))
    made = []
    for tenant in range(1, draw(st.integers(0, 5)) + 1):
        backlogs = []
        for training in range(draw(st.integers(0, 3))):
            shards = [Pending(next(numbers), draw(st.integers(1, 20)), draw(st.booleans())) for _ in range(draw(st.integers(0, 6)))]
            backlogs.append(Backlog(tenant * 100 + training, draw(st.integers(0, 10)), shards))
        slots = draw(st.integers(1, 40))
        claim = Claim(tenant, slots, draw(st.integers(0, 45)), draw(st.sampled_from([0.5, 1.0, 2.0])), draw(st.floats(0, 100)))
        made.append(Wanted(claim, backlogs))
    return made


@given(claims(), st.integers(0, 40))
def test_no_tenant_gets_more_than_its_plan_and_no_shard_twice(wanted: list[Wanted], room: int) -> None:
    grants = chosen(wanted, room)
    assert len(grants) <= room
    assert len({grant.shard for grant in grants}) == len(grants)
    used = collections.Counter({one.claim.tenant: one.claim.used for one in wanted})
    slots = {one.claim.tenant: one.claim.slots for one in wanted}
    for grant in grants:
        assert 1 <= grant.width <= LANE_SLOTS
        used[grant.tenant] += grant.width
        assert used[grant.tenant] <= slots[grant.tenant]


@given(claims(), st.integers(0, 40))
def test_room_is_left_only_when_nobody_may_have_more(wanted: list[Wanted], room: int) -> None:
    grants = chosen(wanted, room)
    if len(grants) == room:
        return
    granted = {grant.shard for grant in grants}
    for one in wanted:
        claim = one.claim
        used = claim.used + sum(grant.width for grant in grants if grant.tenant == claim.tenant)
        left = [shard for backlog in one.backlogs for shard in backlog.shards if shard.shard not in granted]
        assert not left or used >= claim.slots


@given(claims(), st.integers(0, 40))
def test_suspects_run_one_at_a_time_and_others_as_wide_as_they_can(wanted: list[Wanted], room: int) -> None:
    shards = {shard.shard: shard for one in wanted for backlog in one.backlogs for shard in backlog.shards}
    used = {one.claim.tenant: one.claim.used for one in wanted}
    slots = {one.claim.tenant: one.claim.slots for one in wanted}
    for grant in chosen(wanted, room):
        assert grant.width == width_of(shards[grant.shard], slots[grant.tenant] - used[grant.tenant], LANE_SLOTS)
        assert grant.width == 1 or not shards[grant.shard].suspected
        used[grant.tenant] += grant.width


@given(claims(), st.integers(0, 40))
def test_a_training_keeps_the_order_of_its_shards(wanted: list[Wanted], room: int) -> None:
    grants = chosen(wanted, room)
    for one in wanted:
        for backlog in one.backlogs:
            order = [grant.shard for grant in grants if grant.training == backlog.training]
            assert order == [shard.shard for shard in backlog.shards][: len(order)]


def endless(tenant: int, weight: float, used: int = 0) -> Wanted:
    shards = [Pending(tenant * 1000 + n, 500, False) for n in range(100)]
    return Wanted(Claim(tenant, 1000, used, weight, 0.0), [Backlog(tenant, 0, shards)])


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=2, max_size=6), st.integers(20, 90))
def test_scarce_room_is_shared_by_weight(weights: list[float], room: int) -> None:
    wanted = [endless(tenant, weight) for tenant, weight in enumerate(weights, 1)]
    grants = chosen(wanted, room)
    used = collections.Counter(grant.tenant for grant in grants)
    shares = [used[one.claim.tenant] * LANE_SLOTS / one.claim.weight for one in wanted]
    assert max(shares) - min(shares) <= LANE_SLOTS / min(weights) + 1e-9


def test_one_with_a_million_documents_does_not_delay_one_with_ten() -> None:
    busy, small = endless(1, 1.0, used=300), Wanted(Claim(2, 5, 0, 1.0, 0.0), [Backlog(2, 0, [Pending(1, 10, False)])])
    assert chosen([busy, small], 1)[0].tenant == 2


@given(claims(), st.integers(0, 4))
def test_no_more_tenants_need_be_looked_at_than_there_are_grants(wanted: list[Wanted], room: int) -> None:
    wanting = [one for one in wanted if any(backlog.shards for backlog in one.backlogs)]
    first = {claim.tenant for claim in in_turn(one.claim for one in wanting)[:room]}
    assert chosen(wanting, room) == chosen([one for one in wanting if one.claim.tenant in first], room)


class Fleet(RuleBasedStateMachine):
    """Rounds of grants over a fleet in which shards begin and end: within every plan, within the room, and nobody starves."""

    ROOM = 6

    @initialize(
        plans=st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=4),
        sizes=st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=4, max_size=30),
    )
    def begin(self, plans: list[tuple[int, float]], sizes: list[tuple[int, bool]]) -> None:
        self.plans = dict(enumerate(plans, 1))
        self.pending: dict[int, list[Pending]] = {tenant: [] for tenant in self.plans}
        for number, (documents, suspected) in enumerate(sizes, 1):
            self.pending[number % len(plans) + 1].append(Pending(number, documents, suspected))
        self.in_flight: dict[int, Grant] = {}

    def used(self, tenant: int) -> int:
        return sum(grant.width for grant in self.in_flight.values() if grant.tenant == tenant)

    def grants(self) -> list[Grant]:
        wanted = [
            Wanted(Claim(tenant, slots, self.used(tenant), weight, 0.0), [Backlog(tenant, self.used(tenant), self.pending[tenant])])
            for tenant, (slots, weight) in self.plans.items()
        ]
        return chosen(wanted, self.ROOM - len(self.in_flight))

    @rule()
    def a_round(self) -> None:
        for grant in self.grants():
            self.pending[grant.tenant] = [shard for shard in self.pending[grant.tenant] if shard.shard != grant.shard]
            assert grant.shard not in self.in_flight
            self.in_flight[grant.shard] = grant

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), back=st.booleans())
    def a_shard_ends(self, data: st.DataObject, back: bool) -> None:
        grant = self.in_flight.pop(data.draw(st.sampled_from(sorted(self.in_flight))))
        if back:
            self.pending[grant.tenant].append(Pending(grant.shard, 3, suspected=True))

    @invariant()
    def nobody_has_more_than_the_plan(self) -> None:
        if hasattr(self, "plans"):
            assert all(self.used(tenant) <= slots for tenant, (slots, _) in self.plans.items())
            assert len(self.in_flight) <= self.ROOM

    def teardown(self) -> None:
        """Whatever stands then, rounds and ends alone empty every backlog."""
        if hasattr(self, "plans"):
            for _ in range(200):
                self.a_round()
                self.in_flight.clear()
            assert not any(self.pending.values())


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


@given(lanes=st.integers(0, 500), to_start=st.integers(0, 2_000), queued=st.integers(0, 5_000))
def test_room_is_for_twice_the_lanes_and_never_for_a_queue_that_grows(lanes: int, to_start: int, queued: int) -> None:
    room = max(0, room_for(lanes, to_start, queued))
    assert to_start + room <= max(to_start, 2 * lanes)
    assert queued + room <= max(queued, 2 * lanes + MOST_OVER)
    if queued <= to_start:
        assert room == max(0, 2 * lanes - to_start)  # nothing of ended grants is there, and nobody is held up


@given(claims())
def test_without_places_only_tenants_that_have_nothing_are_given_a_shard(wanted: list[Wanted]) -> None:
    grants = chosen(wanted, 100, places=0)
    without = [one.claim.tenant for one in wanted if not one.claim.used and any(backlog.shards for backlog in one.backlogs)]
    assert sorted(grant.tenant for grant in grants) == without


def test_of_tenants_that_have_nothing_the_one_goes_first_that_the_fleet_has_worked_least_for() -> None:
    shards, served = iter(range(1, 100)), [(1, 7.0), (2, 5.0), (3, 0.5), (4, 6.0)]
    wanted = [
        Wanted(Claim(tenant, 5, 0, 1.0, received), [Backlog(tenant, 0, [Pending(next(shards), 9, False)])]) for tenant, received in served
    ]
    assert [grant.tenant for grant in chosen(wanted, 2)] == [3, 2]
