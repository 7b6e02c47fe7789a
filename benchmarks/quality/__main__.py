"""``python -m benchmarks.quality``: reads a folder and prints what was found; fails when anything is not as its manifest says."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.quality import reading, recognition, retrieval
from benchmarks.quality.samples import queries, samples
from testkit.limits import LIMITS
from testkit.parsers import parsers

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "corpus"
CORPUS_MANIFEST = Path(__file__).parent / "corpus" / "MANIFEST.tsv"


async def main(folder: Path, manifest: Path) -> bool:
    """Whether all is right."""
    chosen = samples(folder, manifest)
    async with parsers(replace(LIMITS, call_seconds=300, max_document_chunks=60_000)) as opened:
        found = await reading.readings(opened, chosen)
        print(f"## Reading\n\n{reading.table(found)}\n", flush=True)
        print(f"## Text recognition\n\n{recognition.table(await recognition.recognitions(opened, chosen))}\n", flush=True)
    asked = await retrieval.retrievals(chosen, queries(manifest.with_name("QUERIES.tsv")))
    print(f"## Retrieval\n\n{retrieval.table(asked)}")
    return all(one.is_right for one in found) and all(one.is_right for one in asked)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="documents with a MANIFEST.tsv; the shipped corpus if there is none")
    asked = parser.parse_args().folder
    sys.exit(not asyncio.run(main(asked, asked / "MANIFEST.tsv") if asked else main(CORPUS, CORPUS_MANIFEST)))
