"""When every chunk is looked at, and when the index is followed."""

from __future__ import annotations

import pytest

from doctrain_coordinator.core.search_path import looks_at_all


@pytest.mark.parametrize(
    ("allowed", "indexed", "at_all"),
    [
        (0, 0, True),
        (2_000, 40_000, True),  # one tenant of twenty
        (20_000, 20_000, False),  # a tenant alone
        (2_000, 1_000_000, True),
        (40_000, 1_000_000, True),  # one chunk in 25: the index would be followed for long
        (500_000, 1_000_000, False),
        (5_000, 0, False),  # not counted yet
    ],
)
def test_the_fewer_a_tenant_has_beside_the_others_the_rather_all_are_looked_at(allowed: int, indexed: int, at_all: bool) -> None:
    assert looks_at_all(allowed, indexed) is at_all
