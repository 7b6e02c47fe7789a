"""``make demo`` as a newcomer sees it: everything is trained, and what the shipped documents answer is found."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from testkit.offline import offline

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("dev")]
ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DOCTRAIN_")}


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    """Run once, cut off from the internet where namespaces are allowed."""
    command = offline(sys.executable, "-m", "doctrain_server", "demo")
    return subprocess.run(command, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False)


def test_the_demo_trains_the_corpus_and_answers_three_questions(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout
    assert "Its dashboard is http://127.0.0.1:" in demo.stdout
    searches = demo.stdout.split("\nSearching: ")[1:]
    assert len(searches) == 3
    best = [search.splitlines()[1].split()[1].rstrip(":,") for search in searches]
    assert best == ["beekeeping-calendar.html", "bicycle-repair.pdf", "tides.md"]


def test_the_demo_shows_what_each_stage_of_a_document_took_and_how_many_pages_were_recognised(
    demo: subprocess.CompletedProcess[str],
) -> None:
    lines = re.findall(r"^  trained  (\S+) in \d+ ms: (.+)$", demo.stdout, re.MULTILINE)
    passed = {name: re.sub(r" \d+(?=,|$)", "", stages).split(", ") for name, stages in lines}
    assert len(passed) == len(list((ROOT / "corpus").iterdir()))
    assert all({"fetch", "detect", "extract", "chunk", "embed", "index"} <= set(stages) for stages in passed.values()), passed
    recognised = {name: stage for name, stages in passed.items() for stage in stages if stage.startswith("ocr")}
    assert recognised == {
        "ferry-rules-scan.pdf": "ocr of 2 pages",
        "mooring-permit.pdf": "ocr of 1 page",
        "night-market.png": "ocr of 1 page",
    }


def test_the_demo_needs_no_internet(demo: subprocess.CompletedProcess[str]) -> None:
    networks, _, said = demo.stdout.partition("\n")
    if not networks.startswith("Networks: "):
        pytest.skip("namespaces of users and networks are not allowed here, so the demo was not cut off")
    assert networks == "Networks: lo"
    assert demo.returncode == 0, said


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
