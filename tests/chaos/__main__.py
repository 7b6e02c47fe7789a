"""``python -m chaos``: runs sittings until so many faults were dealt, and ends with 1 when a rule was broken.

Results are added to ``RESULTS``: a run that was cut off, or one that is to be longer, goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from chaos import report
from chaos.checks import violations
from chaos.evidence import Evidence
from chaos.faults import ALL
from chaos.run import Plan, sit

SITTING_FAULTS = 100
NAMES = [kind.name for kind in ALL]


def main() -> int:
    """Answers the exit status."""
    parser = argparse.ArgumentParser(prog="chaos", description="The mesh under a nemesis.")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("build/chaos/results.json"))
    parser.add_argument("--sitting", type=int, default=SITTING_FAULTS, help="faults dealt before everything is checked and begun anew")
    parser.add_argument("--anew", action="store_true", help="forget earlier results")
    parser.add_argument("--only", default="", help="kinds of faults whose name holds this, for looking into one; never counts")
    parser.add_argument("--check", type=Path, help="only look at the evidence in that folder again")
    chosen = parser.parse_args()
    if chosen.check:
        found = violations(Evidence(chosen.check))
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 1 if found else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that was started stays behind
    kinds = [kind for kind in ALL if chosen.only in kind.name]
    results = [] if chosen.anew else report.load(chosen.results)
    while (left := chosen.faults - sum(report.fired(results).values())) > 0:
        faults = min(left, chosen.sitting)
        seed = chosen.seed + len(results)
        plan = Plan(seed, faults, int(chosen.documents * faults / chosen.faults), kinds)
        result = asyncio.run(sit(plan, chosen.results.parent / f"seed-{seed}"))
        results.append(result)
        report.save(chosen.results, results, NAMES)
        if result["broken"]:
            break
    print(report.markdown(results, NAMES))
    missing = [kind.name for kind in kinds if not report.fired(results)[kind.name] and kind.name not in results[-1]["impossible"]]
    broken = [one["seed"] for one in results if one["broken"]]
    if missing:
        print(f"This run does not count, for these never fired: {', '.join(missing)}.")
    if broken:
        print(f"Rules were broken with the seeds {broken}; the evidence is in {chosen.results.parent}.")
    return 1 if missing or broken else 0


if __name__ == "__main__":
    sys.exit(main())
