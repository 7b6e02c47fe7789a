"""``make demo`` as a newcomer sees it: everything is trained, and what the shipped documents answer is found."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path

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
    assert "Its dashboard is http://127.0.0.1:" in said
    searches = said.split("\nSearching: ")[1:]
    assert len(searches) == 3
    best = [search.splitlines()[1].split()[1].rstrip(":,") for search in searches]
    assert best == ["beekeeping-calendar.html", "bicycle-repair.pdf", "tides.md"]


async def test_the_demo_stays_up_for_its_dashboard_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A short note.")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "doctrain_server", "demo", "--keep", "--folder", str(tmp_path)),
        env=CLEAN,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    async with asyncio.timeout(280):
        stays = ""
        while not stays.startswith("It stays up"):
            stays = (await process.stdout.readline()).decode()
            assert stays
        found = re.search(r"Sign in to (http://127\.0\.0\.1:\d+/) with a key", stays)
        assert found
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(found[1], timeout=30).read())
        process.send_signal(signal.SIGINT)
        rest, _ = await process.communicate()
    assert b"main.js" in page
    assert process.returncode == 0, rest.decode()
