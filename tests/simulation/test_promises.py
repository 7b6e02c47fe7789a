"""Two hundred seeds keep every promise, and a seed is the same run each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.simulation import simulate

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
CHUNK = 10
REPLAYED = (3, 4, 11)
"""Two of them send the workers of a coordinator that leaves to another one."""
_DIGEST = "import sys; from simulation.simulation import simulate; print(simulate(int(sys.argv[1])).digest)"


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.timeout(300)
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        outcome = simulate(seed)
        assert not outcome.violations, outcome.told()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", REPLAYED)
def test_a_seed_replays_exactly_also_in_another_process(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert len(first.log) > 100
    assert first.log == second.log
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", _DIGEST, str(seed)], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert ran.stdout.strip() == first.digest


def test_another_seed_is_another_run() -> None:
    assert simulate(1).digest != simulate(2).digest
