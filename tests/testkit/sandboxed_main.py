"""A worker's main process in small, for tests that kill or freeze one: a session, a deadline, and children that hang.

Arguments: isolation, mark of the children, seconds until the deadline (0: none), session. Writes lines to standard
output: ``predecessor N``, ``running``, and ``fenced WHY`` when it learns of it. Ends with status 0 on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

from doctrain_worker.sandbox import isolation
from doctrain_worker.sandbox.fenced import FencedError
from doctrain_worker.sandbox.link import Guardian
from doctrain_worker.sandbox.pool import ChildPool, ChildSpec

TESTS = str(Path(__file__).resolve().parents[1])


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def hang(pool: ChildPool, mark: str) -> None:
    try:
        await pool.run({"do": "hang", "mark": mark}, 60)
    except FencedError:
        say("stopped")


async def main(way: str, mark: str, seconds: float, session: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    spec = ChildSpec("testkit.child_functions:act", environment=(("PYTHONPATH", TESTS),))
    async with Guardian.open() as guardian:
        say(f"predecessor {guardian.predecessor}")
        guardian.note_session(session)
        if seconds:
            guardian.extend(time.monotonic() + seconds)
        async with ChildPool.open(guardian, spec, 2, isolation.choose(way)) as pool, asyncio.TaskGroup() as group:
            hanging = [group.create_task(hang(pool, mark)) for _ in range(2)]
            say("running")
            fenced = group.create_task(guardian.wait_fenced())
            waiting = group.create_task(ended.wait())
            await asyncio.wait({fenced, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if fenced.done():
                say(f"fenced {fenced.result()} {guardian.extend(time.monotonic() + 60)}")
                await ended.wait()
            for task in (*hanging, fenced, waiting):
                task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
