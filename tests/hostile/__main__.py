"""``make hostile``: the corpus and so many mutations of good documents, each read by a child; prints what became of them.

Fails when one ends otherwise than it may, or a good document after one that crashed is not read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter

from hostile.corpus import corpus
from hostile.document import Hostile, media_type
from hostile.good import WORDS
from hostile.mutations import mutations
from hostile.trial import TRIAL
from testkit.parsers import Outcome, Parsers, parsers

SURE = {"OK", "CORRUPT", "EMPTY", "NO_TEXT", "ENCRYPTED", "UNSUPPORTED", "WRONG_TYPE", "UNREADABLE", "CRASHED"}
BEYOND = {"TOO_LARGE", "TOO_DEEP", "TOO_MANY_PAGES", "TOO_MANY_PARTS", "MEMORY_LIMIT", "TIME_LIMIT", "SPACE_LIMIT"}
SLOW_SECONDS = 20.0


async def main(count: int, seed: int) -> bool:
    """Whether all ended as they may."""
    async with parsers(TRIAL) as opened:
        wrong = [found.name for found in corpus() if not await _is_right(opened, found)]
        print(f"{len(corpus())} hostile documents; ended otherwise than they may: {', '.join(wrong) or 'none'}", flush=True)
        ends, odd = await _mutated(opened, count, seed)
        good = await opened.read(WORDS.encode(), "a.txt")
    print(f"{count} mutations of seed {seed}: {', '.join(f'{code} {number}' for code, number in ends.most_common())}")
    print("\n".join(odd) or "None was odd.")
    return not wrong and not odd and good.code == "OK"


async def _is_right(opened: Parsers, found: Hostile) -> bool:
    outcome = await opened.read(found.content, found.name, found.media_type)
    return outcome.code in found.ends and not (found.unwanted and found.unwanted in outcome.text)


async def _mutated(opened: Parsers, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How the mutations ended, and those that ended oddly: with no code that we know, with no sentence, or late."""
    ends: Counter[str] = Counter()
    odd = []
    for number, (name, content) in enumerate(mutations(count, seed)):
        clock = time.perf_counter()
        outcome = await opened.read(content, name, media_type(name))
        seconds = time.perf_counter() - clock
        ends[outcome.code] += 1
        if outcome.code not in SURE | BEYOND or not _is_told(outcome) or seconds > SLOW_SECONDS:
            odd.append(f"{number} of {name}: {outcome.code} after {seconds:.1f} s")
        elif outcome.code in ("CRASHED", "UNREADABLE") and outcome.failure is not None:
            ends[f"{outcome.code} ({name})"] += 1
    return ends, odd


def _is_told(outcome: Outcome) -> bool:
    return outcome.failure is None or outcome.failure.sentence.endswith(".")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.exit(not asyncio.run(main(asked.mutations, asked.seed)))
