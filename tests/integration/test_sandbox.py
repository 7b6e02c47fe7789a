"""Children with real processes: what a document may do to one, and that none outlives its time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from doctrain_worker.sandbox.main import channel, isolation
from doctrain_worker.sandbox.main.isolation import Isolation
from doctrain_worker.sandbox.main.link import Guardian, GuardianLostError
from doctrain_worker.sandbox.main.pool import ChildPool, ChildStartError
from doctrain_worker.sandbox.shared import ends
from doctrain_worker.sandbox.shared.fenced import FencedError
from doctrain_worker.sandbox.shared.launch import Launch
from testkit import sandbox
from testkit.sandbox import MIB, SPEC, TESTS, act, answered, marked, works
from testkit.waiting import wait_until

SECRET = "DOCTRAIN_WORKER_KEY"


@pytest.fixture(scope="session")
def strongest() -> Isolation:
    return sandbox.shut_in()


async def test_a_hang_that_ignores_signals_is_killed_in_time_with_all_it_started(pool: ChildPool, mark: str) -> None:
    assert await act(pool, 1.0, do="hang", mark=mark) == ends.TimedOut(1.0)
    assert marked(mark) == []
    assert await act(pool, 1.0, do="fork_often", mark=mark) == ends.TimedOut(1.0)
    assert marked(mark) == []
    assert await works(pool)


async def test_what_a_crashed_child_started_dies_too(pool: ChildPool, mark: str) -> None:
    assert isinstance(await act(pool, do="mark", mark=mark), ends.Result)
    assert isinstance(await act(pool, do="orphan", mark=mark), ends.Result)
    await act(pool, do="crash")
    assert marked(mark) == []


async def test_cancelling_a_call_ends_when_its_processes_are_dead(pool: ChildPool, mark: str) -> None:
    call = asyncio.ensure_future(act(pool, do="hang", mark=mark))
    await wait_until(lambda: marked(mark))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert marked(mark) == []
    assert await works(pool)


async def test_fence_kills_all_and_nothing_starts_until_a_new_session(guardian: Guardian, pool: ChildPool, mark: str) -> None:
    guardian.note_session(5, b"")
    calls = [asyncio.ensure_future(act(pool, do="hang", mark=mark)) for _ in range(2)]
    await wait_until(lambda: len(marked(mark)) == 2)
    await guardian.fence()
    assert marked(mark) == []
    for call in calls:
        with pytest.raises(FencedError):
            await call
    with pytest.raises(FencedError):
        await works(pool)
    assert not guardian.extend(time.monotonic() + 10)
    guardian.note_session(6, b"")
    assert guardian.extend(time.monotonic() + 10)
    assert await works(pool)


async def test_a_deadline_that_is_moved_holds_and_one_that_passes_kills(guardian: Guardian, pool: ChildPool, mark: str) -> None:
    guardian.note_session(5, b"")
    assert guardian.extend(time.monotonic() + 0.3)
    assert guardian.extend(time.monotonic() + 0.9)
    assert guardian.extend(time.monotonic())  # never back
    began = time.monotonic()
    call = asyncio.ensure_future(act(pool, do="hang", mark=mark))
    assert await guardian.wait_fenced() == "deadline"
    assert 0.7 < time.monotonic() - began < 2
    assert marked(mark) == []
    with pytest.raises(FencedError):
        await call
    assert not guardian.extend(time.monotonic() + 10)


async def test_children_die_with_their_guardian(guardian: Guardian, pool: ChildPool, shut_in: Isolation, mark: str) -> None:
    call = asyncio.ensure_future(act(pool, do="hang", **({} if shut_in.way == "rlimit" else {"mark": mark})))
    children = await wait_until(lambda: psutil.Process(guardian_pid()).children(recursive=True))
    os.kill(guardian_pid(), signal.SIGKILL)
    with pytest.raises(GuardianLostError):
        await call
    with pytest.raises(GuardianLostError):
        guardian.check()
    await wait_until(lambda: not any(alive(child) for child in children), 5)
    assert marked(mark) == []


async def test_a_frozen_guardian_is_killed_and_its_children_with_it(guardian: Guardian, strongest: Isolation, mark: str) -> None:
    if strongest.way == "rlimit":
        pytest.skip("without namespaces an orphan outlives a guardian that is killed, as the sentence of this way says")
    async with ChildPool.open(guardian, SPEC, 1, strongest) as pool:
        guardian.note_session(5, b"")
        call = asyncio.ensure_future(act(pool, do="hang", mark=mark))
        await wait_until(lambda: marked(mark))
        os.kill(guardian_pid(), signal.SIGSTOP)
        await wait_until(lambda: not guardian.extend(time.monotonic() + 60), 5)
        with pytest.raises(GuardianLostError):
            await guardian.fence()
        with pytest.raises(GuardianLostError):
            await call
        await wait_until(lambda: not marked(mark), 5)


def guardian_pid() -> int:
    return next(p.pid for p in psutil.Process().children() if "doctrain_worker.sandbox.guardian" in p.cmdline())


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_no_more_children_than_the_pool_holds_and_each_call_has_its_turn(guardian: Guardian, strongest: Isolation) -> None:
    async with ChildPool.open(guardian, SPEC, 2, strongest) as pool:
        most = 0

        async def call(number: int) -> Any:
            nonlocal most
            answer = await answered(pool, do="echo", value=number)
            most = max(most, len(pool.running))
            return answer

        cancelled = asyncio.ensure_future(call(-1))
        answers = asyncio.gather(*map(call, range(50)))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await answers == list(range(50))
        assert most <= 2


async def test_a_hundred_children_may_be_asked_for_at_once(guardian: Guardian) -> None:
    environment = {"LONG": "x" * 40_000}  # more than a socket holds, with those of its neighbours
    spawned = await asyncio.gather(*(guardian.spawn(Launch(["sleep", "60"], environment, {})) for _ in range(100)))
    for child in spawned:
        guardian.kill(child.key)
    async with asyncio.timeout(20):
        assert {(await child.exited).cause for child in spawned} == {"killed"}
    for child in spawned:
        child.channel.close()
        child.output.close()


async def test_a_child_whose_command_is_too_long_is_not_started_and_others_are(guardian: Guardian) -> None:
    with pytest.raises(OSError, match="shorten PYTHONPATH"):
        await guardian.spawn(Launch(["true"], {"LONG": "x" * 100_000}, {}))
    spawned = await guardian.spawn(Launch(["true"], {}, {}))
    assert (await spawned.exited).code == 0
    spawned.channel.close()
    spawned.output.close()


async def test_a_child_that_cannot_be_killed_ends_the_worker(guardian: Guardian, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "EXIT_SECONDS", 0.2)
    spawned = await guardian.spawn(Launch(["sleep", "60"], {}, {}))
    child = channel.Child(guardian, spawned, reply_bytes=1, memory_bytes=1)
    with pytest.raises(GuardianLostError, match="not dead"):
        await child.ended()  # nobody ordered its end
    with pytest.raises(GuardianLostError, match="not dead"):
        guardian.check()
    spawned.channel.close()


async def test_a_child_is_replaced_after_its_share_of_calls(guardian: Guardian) -> None:
    spec = replace(SPEC, recycle_calls=3)
    async with ChildPool.open(guardian, spec, 1, sandbox.shut_in("rlimit")) as pool:
        pids = [await answered(pool, do="pid") for _ in range(6)]
    assert len(set(pids[:3])) == len(set(pids[3:])) == 1
    assert pids[0] != pids[3]


async def test_a_child_that_has_grown_is_replaced_after_its_call(guardian: Guardian, strongest: Isolation) -> None:
    spec = replace(SPEC, recycle_rss_bytes=160 * MIB)
    async with ChildPool.open(guardian, spec, 1, strongest) as pool:
        names = [await answered(pool, do="grow", size=size) for size in (1, 1 * MIB, 200 * MIB, 1)]
    assert names[0] == names[1] == names[2] != names[3]


async def test_a_child_sees_no_secret_and_no_driver(
    pool: ChildPool, shut_in: Isolation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SECRET, "very secret")
    secret = tmp_path / "secret.txt"
    secret.write_text("very secret")
    await act(pool, do="crash")  # a child that starts now, with the secret set
    assert SECRET not in await answered(pool, do="environment")
    assert await answered(pool, do="imported") == []
    file = await answered(pool, do="read_file", path=str(secret))
    assert (file == "very secret") == (shut_in.way != "bwrap" and not shut_in.held.landlock)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reached = await answered(pool, do="reach", port=port)
    assert (reached == "reached") == (shut_in.way == "rlimit" and not shut_in.held.filtered)


async def test_a_child_does_not_see_the_folder_that_its_worker_was_started_in(
    guardian: Guardian, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("very secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does
    async with ChildPool.open(guardian, SPEC, 1, sandbox.shut_in("bwrap")) as pool:
        assert await answered(pool, do="read_file", path=str(tmp_path / "secret.txt")) == "FileNotFoundError"


@pytest.fixture
def models() -> Iterator[Path]:
    """A folder with two models, which every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("ours", "theirs"):
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "weights").write_text("numbers")
        yield Path(folder)


async def test_a_child_reads_the_folder_that_it_is_to_read_and_nothing_beside(
    guardian: Guardian, shut_in: Isolation, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    seen = isolation.choose(shut_in.way, [str(models / "ours")])
    async with ChildPool.open(guardian, SPEC, 1, seen) as pool:
        assert await answered(pool, do="read_file", path=str(models / "ours/weights")) == "numbers"
        found = await answered(pool, do="read_file", path=str(models / "theirs/weights"))
    assert (found == "numbers") == (shut_in.way != "bwrap" and not shut_in.held.landlock)


async def test_a_child_finds_what_a_search_path_names_in_part(
    guardian: Guardian, shut_in: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(TESTS).parent)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{Path(TESTS).name}")
    seen = isolation.choose(shut_in.way)
    async with ChildPool.open(guardian, replace(SPEC, environment=()), 1, seen) as pool:
        assert await works(pool)


async def test_a_function_that_cannot_be_loaded_is_told_at_the_start(guardian: Guardian, strongest: Isolation) -> None:
    with pytest.raises(ChildStartError, match="nothing_of:this"):
        async with ChildPool.open(guardian, replace(SPEC, function="nothing_of:this"), 1, strongest):
            pass


async def test_a_main_process_that_fenced_itself_and_then_dies_is_not_named_as_one_that_died(shut_in: Isolation, mark: str) -> None:
    with main_process(shut_in.way, mark, 41, standalone=True) as guardian:
        assert [await told(guardian), await told(guardian)] == ["predecessor 0", "running"]
        await wait_until(lambda: len(marked(mark)) == 2)
        (main,) = (p for p in psutil.Process(guardian.pid).children() if "testkit.sandboxed_main" in p.cmdline())
        main.send_signal(signal.SIGUSR2)
        assert sorted([await told(guardian) for _ in range(3)]) == ["fenced ordered False", "stopped", "stopped"]
        main.kill()
        assert [await told(guardian), await told(guardian)] == ["predecessor 41 secret-of-41 self-fenced", "running"]
        guardian.terminate()
        assert await asyncio.to_thread(guardian.wait, 10) == 0


@contextmanager
def main_process(*arguments: object, standalone: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "testkit.sandboxed_main", *map(str, arguments)]
    if standalone:
        command = [sys.executable, "-m", "doctrain_worker.sandbox.guardian", *command]
    environment = {**os.environ, "PYTHONPATH": TESTS}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children():
                    child.kill()
                process.kill()


async def told(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await asyncio.to_thread(process.stdout.readline)).decode().strip()


async def test_children_die_with_the_main_process(shut_in: Isolation, mark: str) -> None:
    with main_process(shut_in.way, mark, 1) as process:
        assert await told(process) == "predecessor 0"
        assert await told(process) == "running"
        await wait_until(lambda: len(marked(mark)) == 2)
        process.kill()
        await wait_until(lambda: not marked(mark), 5)


async def test_children_of_a_frozen_main_process_die_at_its_deadline(shut_in: Isolation, mark: str) -> None:
    with main_process(shut_in.way, mark, 1) as process:
        assert await told(process) == "predecessor 0"
        assert await told(process) == "running"
        await wait_until(lambda: len(marked(mark)) == 2)
        process.send_signal(signal.SIGUSR1)
        assert await told(process) == "extended"
        process.send_signal(signal.SIGSTOP)
        await wait_until(lambda: not marked(mark))
        process.send_signal(signal.SIGCONT)
        assert sorted([await told(process), await told(process), await told(process)]) == ["fenced deadline False", "stopped", "stopped"]
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0


async def test_a_guardian_starts_its_main_process_again_and_names_the_session_that_died(shut_in: Isolation, mark: str) -> None:
    with main_process(shut_in.way, mark, 41, standalone=True) as guardian:
        for predecessor in ("predecessor 0", "predecessor 41 secret-of-41"):
            assert await told(guardian) == predecessor
            assert await told(guardian) == "running"
            await wait_until(lambda: len(marked(mark)) == 2)
            (main,) = (p for p in psutil.Process(guardian.pid).children() if "testkit.sandboxed_main" in p.cmdline())
            main.kill()
            await wait_until(lambda: not marked(mark), 5)
        assert await told(guardian) == "predecessor 41 secret-of-41"
        assert await told(guardian) == "running"
        guardian.terminate()
        assert await asyncio.to_thread(guardian.wait, 10) == 0
        assert marked(mark) == []


async def test_owners_of_calls_take_turns(pool: ChildPool) -> None:
    served: list[str] = []

    async def call(owner: str, name: str) -> None:
        async with pool.calls(owner=owner):
            served.append(name)

    async with asyncio.TaskGroup() as group, pool.calls(), pool.calls():
        for name in ("flood 1", "flood 2", "flood 3", "small 1"):
            group.create_task(call(name.split()[0], name))
        await asyncio.sleep(0)
        assert served == []
    assert served.index("small 1") < served.index("flood 2")
