"""Widths: within the limit wherever narrowing can bring them there, no slot idle that a shard could use, and at rest once it fits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from doctrain_coordinator.core.resizing import InFlight, Resizing, Sized, resize

LANE_SLOTS = 5


def shard(key: int, width: int, *, open: int = 100, runs: bool = True) -> Sized:
    return Sized(key, 1, width, None, open, runs=runs, suspected=False, leaving=False)


def held(slots: int, *shards: Sized, waits: bool = False) -> InFlight:
    return InFlight(1, slots, waits, shards)


def widths(resizing: Resizing) -> dict[int, int]:
    return {key: width for key, _, width, *_ in (*resizing.wider, *resizing.narrower)}


@st.composite
def shards(draw: st.DrawFn) -> list[Sized]:
    made = []
    for key in range(1, draw(st.integers(0, 8)) + 1):
        width, runs, suspected = draw(st.integers(1, LANE_SLOTS)), draw(st.booleans()), draw(st.booleans())
        width = 1 if suspected else width
        narrow_to = draw(st.none() | st.integers(1, width - 1)) if runs and width > 1 else None
        made.append(Sized(key, key, width, narrow_to, draw(st.integers(1, 12)), runs, suspected, leaving=draw(st.integers(0, 4)) == 0))
    return made


tenants = st.builds(InFlight, st.just(1), st.integers(1, 30), st.booleans(), shards())


def applied(tenant: InFlight, resizing: Resizing, *, confirmed: bool) -> InFlight:
    """The tenant once that is done, and once its workers have confirmed it and handed back what was to go."""
    changed = widths(resizing)
    gone = {key for key, _ in (*resizing.back.withdrawn, *resizing.back.yielding)}
    kept = [one for one in tenant.shards if not (confirmed and (one.shard in gone or one.leaving))]
    after = []
    for one in kept:
        width = changed.get(one.shard, one.told if confirmed else one.width)
        if width < one.width and one.runs and not confirmed:
            after.append(replace(one, narrow_to=width))
        else:
            after.append(replace(one, width=width, narrow_to=one.narrow_to if not confirmed else None))
    return replace(
        tenant, shards=[replace(one, leaving=one.leaving or one.shard in gone) for one in after], waits=tenant.waits or bool(gone)
    )


@given(tenants)
def test_a_limit_is_reached_by_narrowing_alone_or_not_at_all(tenant: InFlight) -> None:
    resizing = resize([tenant], LANE_SLOTS)
    staying = [one for one in tenant.shards if not one.leaving]
    back = len(resizing.back.withdrawn) + len(resizing.back.yielding)
    assert back == max(0, len(staying) - tenant.slots)
    after = applied(tenant, resizing, confirmed=False)
    if all(one.narrow_to is None for one in tenant.shards):
        assert sum(one.told for one in after.shards if not one.leaving) <= tenant.slots


@given(tenants)
def test_what_is_widened_fits_beside_all_that_is_counted(tenant: InFlight) -> None:
    resizing = resize([tenant], LANE_SLOTS)
    if resizing.wider:
        after = {one.shard: one.width for one in tenant.shards} | widths(resizing)
        assert sum(after.values()) <= tenant.slots
        assert not tenant.waits
        assert not resizing.narrower


@given(tenants)
def test_a_shard_is_left_alone_that_has_not_confirmed_is_suspected_or_leaves(tenant: InFlight) -> None:
    changed = widths(resize([tenant], LANE_SLOTS))
    by_key = {one.shard: one for one in tenant.shards}
    for key, width in changed.items():
        one = by_key[key]
        assert one.narrow_to is None
        assert not one.leaving
        assert 1 <= width != one.width
        if width > one.width:
            assert one.runs
            assert not one.suspected
            assert width <= min(LANE_SLOTS, one.open)


@given(tenants)
def test_once_it_is_confirmed_nothing_is_changed_back(tenant: InFlight) -> None:
    """No flapping: after a decision that was carried out another one has nothing to do, unless something ended meanwhile."""
    first = resize([tenant], LANE_SLOTS)
    assert not resize([applied(tenant, first, confirmed=False)], LANE_SLOTS)
    if all(one.narrow_to is None and not one.leaving for one in tenant.shards):
        second = resize([applied(tenant, first, confirmed=True)], LANE_SLOTS)
        assert not second.narrower
        assert not second.back.yielding
        assert not widths(second).keys() & {key for key, *_ in first.narrower}


@given(tenants)
def test_no_slot_is_idle_that_a_running_shard_could_use(tenant: InFlight) -> None:
    after = applied(tenant, resize([tenant], LANE_SLOTS), confirmed=False)
    free = after.slots - sum(one.width for one in after.shards)
    if free > 0 and not after.waits and not any(one.leaving and one.runs for one in after.shards):
        for one in after.shards:
            if one.runs and one.narrow_to is None and not (one.suspected or one.leaving):
                assert one.width >= min(LANE_SLOTS, one.open)


def test_the_widest_is_narrowed_first_and_none_below_one() -> None:
    assert widths(resize([held(8, shard(1, 2), shard(2, 5), shard(3, 4))], LANE_SLOTS)) == {2: 3, 3: 3}
    assert widths(resize([held(3, shard(1, 2), shard(2, 5), shard(3, 4))], LANE_SLOTS)) == {1: 1, 2: 1, 3: 1}


def test_a_shard_is_first_narrowed_to_the_documents_that_it_has_left() -> None:
    assert widths(resize([held(6, shard(1, 5, open=1), shard(2, 5))], LANE_SLOTS)) == {1: 1}


def test_where_one_each_is_too_much_what_was_not_begun_goes_back_before_the_youngest() -> None:
    resizing = resize([held(2, shard(1, 1), shard(2, 3, runs=False), shard(3, 1), shard(4, 2))], LANE_SLOTS)
    assert (resizing.back.withdrawn, resizing.back.yielding) == ([(2, 1)], [(4, 1)])
    assert not resizing.narrower


def test_the_narrowest_is_widened_first_as_far_as_its_documents_and_the_limit_go() -> None:
    assert widths(resize([held(10, shard(1, 1), shard(2, 3), shard(3, 1, open=2))], LANE_SLOTS)) == {1: 4, 2: 4, 3: 2}
    assert widths(resize([held(5, shard(1, 1))], LANE_SLOTS)) == {1: 5}
    assert widths(resize([held(30, shard(1, 5))], LANE_SLOTS)) == {}


def test_nothing_is_widened_while_another_shard_could_be_granted_or_is_about_to_come_back() -> None:
    assert not resize([held(10, shard(1, 1), waits=True)], LANE_SLOTS)
    assert not resize([held(10, shard(1, 1), replace(shard(2, 1), leaving=True))], LANE_SLOTS)


def test_what_was_told_already_is_not_told_again_and_counts_until_it_is_confirmed() -> None:
    told = replace(shard(1, 5), narrow_to=1)
    assert not resize([held(1, told)], LANE_SLOTS)
    assert not resize([held(5, told, shard(2, 1))], LANE_SLOTS)
