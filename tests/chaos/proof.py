"""``python -m chaos.proof``: with one rule broken at a time, shortened runs must fail, by a rule of the checker that names the harm.

And with a rule that may be broken (two leaders at once do no harm) one must pass.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from chaos import run
from chaos.faults import brokers, messages, networks, workers, zombies
from chaos.faults.fault import Fault
from chaos.world import LEASE_SECONDS

FAULTS, DOCUMENTS, END_SECONDS, TRIES = 6, 400, 45.0, 3


class CutUntilTakenBack(networks.CutThere):
    """Healed once the session is taken back: what was under way arrives while its shards begin elsewhere."""

    async def last(self) -> float:
        connection = await asyncpg.connect(self.world.database)
        try:
            session = await connection.fetchval("select max(id) from session where worker_id = $1", self.victim)
            async with asyncio.timeout(3 * LEASE_SECONDS):
                while await connection.fetchval("select state from session where id = $1", session) == 1:
                    await asyncio.sleep(0.01)
        finally:
            await connection.close()
        return 0.0


@dataclass(frozen=True)
class Proof:
    """A broken rule, the faults that bring it out, and the checker's rules of which one must name it; none: it must pass."""

    breaks: str
    kinds: Sequence[type[Fault]]
    caught_by: frozenset[str]


PROOFS = (
    Proof(
        "no fencing",
        (zombies.Reports, CutUntilTakenBack),
        frozenset({"attempts.who_holds_nothing_records_nothing"}),
    ),
    Proof("ack before the commit", (workers.MainKilled, brokers.ConnectionsCut), frozenset({"rest.acks_follow_commits"})),
    Proof("no take-back", (workers.MainKilled, workers.TreeKilled), frozenset({"trainings.none_is_lost"})),
    Proof(
        "no self-fence",
        (workers.MainFrozen, workers.TreeFrozen),
        frozenset({"attempts.they_increase", "attempts.no_document_runs_twice_at_once"}),
    ),
    Proof("a redelivery moves a shard", (messages.Duplicates, brokers.ConnectionsCut), frozenset({"attempts.one_holder_an_attempt"})),
    Proof(
        "no adoption of doubled deliveries",
        (messages.Duplicates, brokers.ConnectionsCut),
        frozenset({"attempts.nothing_runs_again_once_recorded", "attempts.no_document_runs_twice_at_once"}),
    ),
    Proof("grants without the tenant's lock", (workers.Drained, workers.ChildKilled), frozenset({"slots.never_counted_over_the_plan"})),
    Proof("two leaders, with the lock", (workers.Drained, workers.MainKilled), frozenset()),
)


async def proven(proof: Proof, seed: int, folder: Path) -> bool:
    """Whether the checker said what it must."""
    patience = END_SECONDS if proof.caught_by else run.END_SECONDS  # a slow machine is no broken rule
    plan = run.Plan(seed, FAULTS, DOCUMENTS, proof.kinds, proof.breaks, size=0.4, end_seconds=patience)
    broken = (await run.sit(plan, folder))["broken"]
    for rule, sentences in broken.items():
        print(f"    {rule}: {sentences[0]}", flush=True)
    return bool(proof.caught_by & broken.keys()) if proof.caught_by else not broken


def main() -> int:
    """Answers the exit status."""
    parser = argparse.ArgumentParser(prog="chaos.proof", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/chaos"))
    parser.add_argument("--only", default="", help="rules whose name holds this")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that was started stays behind
    unproven = []
    for proof in PROOFS:
        if chosen.only not in proof.breaks:
            continue
        print(f"== {proof.breaks}", flush=True)
        # What a broken rule does is a matter of moments, so one that was not caught gets other ones; what must pass gets one.
        tries = range(TRIES if proof.caught_by else 1)
        if not any(asyncio.run(proven(proof, chosen.seed + turn, chosen.folder / "proof")) for turn in tries):
            unproven.append(proof.breaks)
    print(f"Not proven: {', '.join(unproven)}." if unproven else "The checker noticed every broken rule.")
    return 1 if unproven else 0


if __name__ == "__main__":
    sys.exit(main())
