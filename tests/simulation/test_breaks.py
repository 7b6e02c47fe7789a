"""The simulation notices: with one rule of the product broken, some seed of a few breaks a promise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from simulation.breaks import BROKEN
from simulation.simulation import simulate

BUDGET = 40
"""Seeds to try; where to begin is chosen so that the first fails, as long as nothing changes what a seed is."""
FIRST: Mapping[str, int] = {
    "fence_accepts_all": 6,
    "takes_nothing_back": 3,
    "fences_nobody": 3,
    "redelivery_moves_a_shard": 3,
    "records_what_is_recorded": 14,
    "narrowed_before_its_worker_says_so": 3,
    "says_at_once_that_it_is_narrower": 3,
    "cancel_frees_slots_at_once": 4,
    "publishes_once": 50,
    "closed_streams_lose_their_session_at_once": 19,
    "results_hold_no_slot": 20,
    "trials_beside_others": 141,
    "fences_cost_nothing": 42,
    "silence_shortens_the_lease": 6,
}


@pytest.mark.parametrize("rule", BROKEN)
@pytest.mark.timeout(300)
def test_a_broken_rule_is_noticed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[rule](monkeypatch)
    first = FIRST.get(rule, 0)
    for seed in range(first, first + BUDGET):
        if simulate(seed).violations:
            return
    raise AssertionError(f"{BROKEN[rule].__doc__} {BUDGET} seeds from {first} on kept every promise all the same.")
