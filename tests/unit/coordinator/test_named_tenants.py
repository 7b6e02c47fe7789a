"""However many tenants there are, metrics name a few, and nothing is missing from their sum."""

from __future__ import annotations

from doctrain_coordinator.core.named_tenants import MOST_NAMED, OTHERS, Share, shares


def test_a_few_tenants_are_named_and_the_others_are_one() -> None:
    largest = [Share(f"tenant-{n}", 1000 - n, n % 7) for n in range(60)]
    told = shares(largest, pending=100_000, used=500)
    assert len(told) == MOST_NAMED + 1 == 51
    assert told[:MOST_NAMED] == largest[:MOST_NAMED]
    assert (sum(share.pending for share in told), sum(share.used for share in told)) == (100_000, 500)
    assert told[-1].name == OTHERS


def test_without_others_nothing_is_theirs() -> None:
    assert shares([Share("acme", 3, 5)], pending=3, used=5) == [Share("acme", 3, 5), Share(OTHERS, 0, 0)]
    assert shares([], pending=0, used=0) == [Share(OTHERS, 0, 0)]
