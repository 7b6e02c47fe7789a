"""Documents that took their child over, in every way that this machine has to shut one in: what they get, and what stays of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec
from doctrain_worker.sandbox.shared import ends
from doctrain_worker.sandbox.shared.launch import MOST_PROCESSES, SCRATCH_BYTES
from testkit import sandbox
from testkit.sandbox import MIB, act, answered, marked
from testkit.waiting import wait_until

HOSTILE = replace(sandbox.SPEC, function="testkit.hostile_functions:act", memory_bytes=400 * MIB)


@pytest.fixture(scope="session")
def shut_in(shut_in: Isolation) -> Isolation:
    if not shut_in.strong:
        pytest.skip(f"This kernel cannot hold all: {shut_in.describe()}")
    return shut_in


@pytest.fixture
def spec() -> ChildSpec:
    return HOSTILE


@pytest.fixture
def children() -> int:
    return 1


@pytest.fixture
async def pool(pool: ChildPool) -> AsyncIterator[ChildPool]:
    yield pool
    assert await answered(pool, do="echo", value="still") == "still"


async def test_a_fork_bomb_ends_with_all_its_processes(pool: ChildPool, guardian: Guardian) -> None:
    assert await act(pool, 60.0, do="bomb", most=300) == ends.Crashed(f"started more than {MOST_PROCESSES} processes")
    assert len(psutil.Process(guardian.pid).children(recursive=True)) < 5


async def test_a_process_that_left_its_session_and_its_parent_does_not_outlive_its_call(pool: ChildPool, mark: str) -> None:
    assert await answered(pool, do="daemon", mark=mark) is None
    assert marked(mark) == []


async def test_memory_is_counted_over_all_processes_and_where_none_allocates_it(pool: ChildPool) -> None:
    assert await act(pool, 60.0, do="spread", bytes=800 * MIB) == ends.OutOfMemory(HOSTILE.memory_bytes)
    assert await act(pool, 60.0, do="share", bytes=800 * MIB) == ends.OutOfMemory(HOSTILE.memory_bytes)
    assert await answered(pool, do="hidden_memory") == []


async def test_what_processes_share_is_counted_once(pool: ChildPool) -> None:
    assert await answered(pool, 60.0, do="inherit", bytes=300 * MIB, seconds=1.0) == "well"


async def test_files_are_counted_and_none_stay(pool: ChildPool, scratch_root: Path) -> None:
    for _ in range(2):
        assert await act(pool, 60.0, do="many_files", count=100_000) == ends.OutOfSpace(SCRATCH_BYTES)
    # A file system of its own may be as deep as it likes.
    assert await act(pool, 5.0, do="deep_folders") in (ends.OutOfSpace(SCRATCH_BYTES), ends.TimedOut(5.0))
    assert await answered(pool, do="echo", value=1) == 1
    await wait_until(lambda: len(list(scratch_root.iterdir())) <= 1)


@pytest.mark.parametrize("leave", ["leave_file", "leave_deep_folders", "leave_open_file"])
async def test_every_call_finds_an_empty_scratch_folder(pool: ChildPool, leave: str) -> None:
    for _ in range(3):
        assert await answered(pool, do="scratch") == []
        await answered(pool, do=leave)


async def test_a_child_that_left_nothing_is_kept(pool: ChildPool) -> None:
    assert len({await answered(pool, do="named") for _ in range(3)}) == 1


async def test_calls_in_a_row_share_their_files(pool: ChildPool) -> None:
    async with pool.calls() as calls:
        path = await calls.run({"do": "leave_file"}, 20.0, sandbox.ANYTHING)
        seen = await calls.run({"do": "scratch"}, 20.0, sandbox.ANYTHING)
    assert isinstance(path, ends.Result)
    assert isinstance(seen, ends.Result)
    assert seen.value == [Path(path.value).name]


def test_what_is_tried_here_works_outside() -> None:
    tried = "import json, os; from testkit import hostile_functions as h; pid = {'pid': os.getppid()}; "
    tried += (
        "print(json.dumps([h.reach_into(pid), h.sockets({}), h.hidden_memory({}), h.write_elsewhere({'folders': []}), h.processes({})]))"
    )
    found = subprocess.run([sys.executable, "-c", tried], env={**os.environ, "PYTHONPATH": sandbox.TESTS}, capture_output=True, check=True)
    assert all(json.loads(found.stdout))


async def test_there_are_no_sockets(pool: ChildPool) -> None:
    assert await answered(pool, do="sockets") == []


async def test_other_processes_are_out_of_reach(pool: ChildPool, guardian: Guardian) -> None:
    for pid in (os.getpid(), guardian.pid):
        reached = await answered(pool, do="reach_into", pid=pid)
        assert reached == []
    assert await answered(pool, do="processes") <= 3


async def test_no_power_is_to_be_had(pool: ChildPool) -> None:
    assert await answered(pool, do="privileges") == []


async def test_nothing_is_written_outside_the_scratch_folder(pool: ChildPool, scratch_root: Path) -> None:
    assert await answered(pool, do="write_elsewhere", folders=[str(scratch_root), str(Path.home()), str(Path.cwd()), sandbox.TESTS]) == []


async def test_a_child_inherits_its_channel_and_nothing_else(pool: ChildPool) -> None:
    assert len(await answered(pool, do="descriptors")) == 4
    assert await act(pool, do="write_descriptors") == ends.NO_ANSWER
