"""Pools of children for tests: what they run, how they are shut in, and calls whose values are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.isolation import Isolation, IsolationUnavailableError
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec
from doctrain_worker.sandbox.shared import ends

TESTS = str(Path(__file__).resolve().parents[1])
MIB = 1 << 20
SPEC = ChildSpec("testkit.child_functions:act", memory_bytes=512 * MIB, reply_bytes=1 * MIB, environment=(("PYTHONPATH", TESTS),))

ANYTHING = msgspec.msgpack.Decoder()


def shut_in(way: str = "auto") -> Isolation:
    """A way that shows children this folder; skips the test where it does not work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS)
        try:
            return isolation.choose(way)
        except IsolationUnavailableError as error:
            pytest.skip(str(error))


def marked(word: str) -> list[psutil.Process]:
    """Living processes with the mark, wherever they hide."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                word in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
                and "sandboxed_main" not in " ".join(process.cmdline())
            ):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


async def act(pool: ChildPool, seconds: float = 20.0, /, **task: Any) -> ends.Result[Any] | ends.Failed:
    """One call of ``testkit.child_functions``: ``do`` names the function."""
    return await pool.run(task, seconds, ANYTHING)


async def answered(pool: ChildPool, seconds: float = 20.0, /, **task: Any) -> Any:
    """The value of a call that must succeed."""
    answer = await act(pool, seconds, **task)
    assert isinstance(answer, ends.Result), answer
    return answer.value


async def works(pool: ChildPool) -> bool:
    """Whether a call succeeds."""
    return bool(await answered(pool, do="echo", value=[1, "two", b"three"]) == [1, "two", b"three"])
