"""The simulation notices: with one rule of the product broken, some seed of a few breaks a promise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from simulation.breaks import BROKEN
from simulation.simulation import simulate

BUDGET = 40
"""Seeds to try; where to begin is chosen so that the first fails, as long as nothing changes what a seed is."""
FIRST: Mapping[str, int] = {
    "fence_accepts_all": 17,
    "fences_nobody": 1,
    "records_what_is_recorded": 36,
    "narrowed_before_its_worker_says_so": 30,
    "says_at_once_that_it_is_narrower": 30,
    "cancel_frees_slots_at_once": 4,
    "publishes_once": 16,
    "closed_streams_lose_their_session_at_once": 37,
    "results_hold_no_slot": 4,
    "trials_beside_others": 3,
    "fences_cost_nothing": 31,
    "silence_shortens_the_lease": 14,
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
