"""Ends whole trees of processes, also those whose members left their group or were orphaned on purpose.

The guardian is a subreaper: an orphan below it becomes its child, so nothing that descends from it can hide.
Standard library only. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Orphans below this process become its children from now on."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies; at once when that has happened already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process. Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def parents() -> dict[int, int]:
    """The parent of every process there is."""
    found = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - names only, thousands of times a day
        if name.isdigit():
            try:
                stat = (_PROC / name / "stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            found[int(name)] = int(stat[stat.rindex(b")") + 2 :].split()[1])
    return found


def children() -> list[int]:
    """The direct children of this process, zombies included."""
    try:
        with open("/proc/thread-self/children") as file:  # noqa: PTH123 - 25 times a second, and Path costs more than the read
            text = file.read()
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        me = os.getpid()
        return [pid for pid, parent in parents().items() if parent == me]
    return [int(pid) for pid in text.split()]


def descendants(root: int, spare: Iterable[int] = ()) -> list[int]:
    """All processes below ``root``, without those in ``spare`` and what is below them."""
    below: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        below.setdefault(parent, []).append(pid)
    spared = set(spare)
    found: list[int] = []
    pending = [pid for pid in below.get(root, ()) if pid not in spared]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += [child for child in below.get(pid, ()) if child not in spared]
    return found


def tree(root: int) -> list[int]:
    """A process and all below it, those of one generation after the other; what a few processes cost, however many others there are."""
    found = [root]
    for pid in found:
        try:
            threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - five times a second for each child
            for thread in threads:
                with open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                    found += map(int, file.read().split())
        except OSError:
            continue  # it ended while we looked
    return found


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each. Those that are gone already are fine; those that we may not kill live on, for the caller to see."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and all below it; orphans that this makes are the caller's children (see become_subreaper)."""
    tree = descendants(pid)
    kill([pid, *tree])


def now_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC, one clock for all processes of the machine."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
