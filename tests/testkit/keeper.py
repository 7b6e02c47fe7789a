"""Keeps one server process and ends it when nobody needs it any more. Run as a script; needs the standard library alone.

    python keeper.py USERS_LOCK FOLDER COMMAND...

Whoever needs the server holds a shared lock on the file USERS_LOCK. The kernel drops the lock when its holder ends, also
by SIGKILL, so the keeper, which waits for the exclusive one, outlives none of them. A parent-death signal would not do:
it follows the thread that started the server, misses the server's own children, and knows one parent only.
When the users are gone the server and FOLDER go; when the server ends first, only the keeper goes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

STOP_SECONDS = 5.0


def main(users_lock: Path, folder: Path, command: list[str]) -> None:
    """Returns when the server has ended."""
    server = subprocess.Popen(command, start_new_session=True, cwd=folder)

    def leave_with_server(_number: int, _frame: FrameType | None) -> None:
        if server.poll() is not None:
            sys.exit()

    signal.signal(signal.SIGCHLD, leave_with_server)
    leave_with_server(signal.SIGCHLD, None)
    with users_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            _signal(server, number)
            if number in (signal.SIGINT, signal.SIGKILL) and _ended(server):
                break
        shutil.rmtree(folder, ignore_errors=True)


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    if server.poll() is None:
        os.killpg(server.pid, number)


def _ended(server: subprocess.Popen[bytes]) -> bool:
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
