"""``make demo`` as a newcomer sees it: everything is trained, and what the shipped documents answer is found."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("dev")]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DOCTRAIN_")}


async def test_the_demo_trains_the_corpus_and_answers_three_questions() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain_server", "demo"),
        env=CLEAN,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(280):
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    searches = said.split("\nSearching: ")[1:]
    assert len(searches) == 3
    best = [search.splitlines()[1].split()[1].rstrip(":,") for search in searches]
    assert best == ["beekeeping-calendar.html", "bicycle-repair.pdf", "tides.md"]
