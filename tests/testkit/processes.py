"""Processes seen from outside, through /proc alone: quick on a machine that runs many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

_PROC = Path("/proc")


def below(pid: int) -> list[psutil.Process]:
    """All that descend from a process and still have their parent, nearest first."""
    found: list[psutil.Process] = []
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop(0)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(child))
                waiting.append(child)
    return found


def words(process: psutil.Process) -> list[str]:
    """Its command line; empty when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()
    return []


def sockets_of_port(port: int) -> set[str]:
    """The TCP sockets of this machine that have that local port, as ``/proc/PID/fd`` names them."""
    wanted = f":{port:04X}"
    # gRPC's sockets are of IPv6, also to 127.0.0.1.
    lines = [line for table in ("tcp", "tcp6") for line in (_PROC / "net" / table).read_text().splitlines()[1:]]
    # A socket that its process gave up has no inode any more.
    return {f"socket:[{fields[9]}]" for fields in map(str.split, lines) if fields[1].endswith(wanted) and fields[9] != "0"}


def holds(pid: int, sockets: set[str]) -> bool:
    """Whether a process has one of them."""
    return any(target in sockets for target in _targets(pid))


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())


def _targets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(descriptor.readlink())
