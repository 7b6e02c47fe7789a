"""A worker's main process in small, for tests that kill or freeze one: a session, a deadline, and children that hang.

Arguments: isolation, mark of the children, session. Writes lines to standard output: ``predecessor N SECRET``, ``running``,
``extended`` when SIGUSR1 has made it set a deadline DEADLINE_SECONDS from then, ``fenced WHY`` and ``stopped`` for each
call when it learns of it. SIGUSR2 makes it fence itself. Ends with status 0 on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool
from doctrain_worker.sandbox.shared.fenced import FencedError
from testkit.sandbox import ANYTHING, SPEC

DEADLINE_SECONDS = 0.8


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def hang(pool: ChildPool, mark: str) -> None:
    try:
        await pool.run({"do": "hang", "mark": mark}, 60, ANYTHING)
    except FencedError:
        say("stopped")


async def main(way: str, mark: str, session: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with Guardian.open() as guardian:
        known = guardian.predecessor
        secret = known.secret.rstrip(b"\0").decode()
        say(" ".join(["predecessor", str(known.session), *[secret] * bool(secret), *["self-fenced"] * known.self_fenced]))
        guardian.note_session(session, f"secret-of-{session}".encode())

        def extend() -> None:
            assert guardian.extend(time.monotonic() + DEADLINE_SECONDS)
            say("extended")

        loop.add_signal_handler(signal.SIGUSR1, extend)
        async with ChildPool.open(guardian, SPEC, 2, isolation.choose(way)) as pool, asyncio.TaskGroup() as group:
            hanging = [group.create_task(hang(pool, mark)) for _ in range(2)]
            say("running")
            loop.add_signal_handler(signal.SIGUSR2, lambda: group.create_task(guardian.fence()))
            fenced = group.create_task(guardian.wait_fenced())
            waiting = group.create_task(ended.wait())
            await asyncio.wait({fenced, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if fenced.done():
                say(f"fenced {fenced.result()} {guardian.extend(time.monotonic() + 60)}")
                await ended.wait()
            for task in (*hanging, fenced, waiting):
                task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
