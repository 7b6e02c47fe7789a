"""Runs seeds outside of pytest: ``--seed n`` replays one with its event log, ``--seeds n`` looks for broken promises in many."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from simulation.simulation import Outcome, simulate


def _said(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _broken(seed: int) -> str:
    outcome = simulate(seed)
    return outcome.told() if outcome.violations else ""


def _replay(seed: int) -> int:
    outcome: Outcome = simulate(seed)
    for line in outcome.log:
        _said(line)
    _said(outcome.told() if outcome.violations else f"Seed {seed} kept every promise, in {outcome.seconds:.1f} virtual seconds.")
    return bool(outcome.violations)


def _search(first: int, count: int) -> int:
    started, failures = time.monotonic(), 0
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for told in pool.imap_unordered(_broken, range(first, first + count), chunksize=10):
            if told:
                failures += 1
                _said(told)
    _said(f"{failures} of {count} seeds broke promises ({time.monotonic() - started:.0f} s).")
    return bool(failures)


def main() -> int:
    """Ends non-zero when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one, with its event log")
    parser.add_argument("--seeds", type=int, default=2000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    chosen = parser.parse_args()
    return _search(chosen.first, chosen.seeds) if chosen.seed is None else _replay(chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
