"""What the worker takes of its machine, and how much of that is left: read from the system, at once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")


class Use:
    """CPU and memory of this process, of its guardian and of the children below that. One thread's."""

    def __init__(self, guardian_pid: int) -> None:
        self._guardian = guardian_pid
        self._spent, _, _ = self._sum()
        self._at = time.monotonic()

    def measure(self) -> dict[str, float | int]:
        """Since the measure before; ``cpu`` is a share of all cores."""
        spent, memory, children = self._sum()
        now = time.monotonic()
        share = max(0.0, spent - self._spent) / max(0.001, now - self._at) / (os.cpu_count() or 1)
        self._at, self._spent = now, spent
        return {"cpu": round(min(1.0, share), 3), "memory_bytes": memory, "children": children, "load1": round(os.getloadavg()[0], 2)}

    def _sum(self) -> tuple[float, int, int]:
        spent, memory, own = 0.0, 0, psutil.Process()
        family = {own, *self._family()}
        for process in family:
            try:
                times = process.cpu_times()
                spent += times.user + times.system
                memory += process.memory_info().rss
            except psutil.Error:
                continue
        return spent, memory, sum(process.pid not in {own.pid, self._guardian} for process in family)

    def _family(self) -> list[psutil.Process]:
        try:
            guardian = psutil.Process(self._guardian)
            return [guardian, *guardian.children(recursive=True)]
        except psutil.Error:
            return []


def memory_share() -> float:
    """The share in use of the memory that the machine has, or that a cgroup (v2) around this process allows; the larger counts."""
    machine = psutil.virtual_memory()
    return max(1 - machine.available / machine.total, *_of_cgroups(), 0.0)


def _of_cgroups() -> Iterator[float]:
    """Without what the kernel would drop from its cache."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    place = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if place is None:
        return
    folder = CGROUPS / place.lstrip("/")
    for group in (folder, *folder.parents):
        try:
            most, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
            facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield max(0, used - int(facts.get("inactive_file", 0))) / max(1, most)
        except (OSError, ValueError):  # it has no such files, or its most is `max`
            continue


def disk_free_share(folders: Iterable[Path]) -> float | None:
    """Of the disks that hold these folders, the share that is free on the fullest; None when none can be asked."""
    shares = []
    for folder in folders:
        try:
            disk = shutil.disk_usage(folder)
        except OSError:
            continue
        shares.append(disk.free / max(1, disk.total))
    return min(shares, default=None)
