"""What the worker says of itself in the registry, for operators: JSON that a person reads, under a lease."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psutil

from doctrain_mesh import membership
from doctrain_mesh.ports import Registry

LEASE_SECONDS = 10
PAUSE_SECONDS = 5.0


async def keep_registered(registry: Registry, worker_id: str, facts: Callable[[], dict[str, Any]], guardian_pid: int) -> None:
    """Registers and renews the record until cancelled, then removes it. A registry that is away stops nothing."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    load = _Load(guardian_pid)

    def record() -> bytes:
        fixed = {"worker_id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "started_at": started}
        return json.dumps({**fixed, **facts(), **load.measure()}, indent=2).encode()

    registration = await registry.register(membership.WORKERS + worker_id, record(), LEASE_SECONDS)
    try:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await registration.update(record())
    finally:
        await asyncio.shield(registration.close())


class _Load:
    """CPU and memory of this process, of its guardian and of the children below that."""

    def __init__(self, guardian_pid: int) -> None:
        self._guardian = guardian_pid
        self._spent, _ = self._sum()
        self._at = time.monotonic()

    def _sum(self) -> tuple[float, int]:
        spent, memory = 0.0, 0
        for process in {psutil.Process(), *self._family()}:
            try:
                times = process.cpu_times()
                spent += times.user + times.system
                memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return spent, memory

    def _family(self) -> list[psutil.Process]:
        try:
            guardian = psutil.Process(self._guardian)
            return [guardian, *guardian.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def measure(self) -> dict[str, float | int]:
        spent, memory = self._sum()
        now = time.monotonic()
        share = max(0.0, spent - self._spent) / max(0.001, now - self._at) / (os.cpu_count() or 1)
        self._at, self._spent = now, spent
        return {"cpu": round(min(1.0, share), 3), "memory_bytes": memory, "load1": round(os.getloadavg()[0], 2)}
