"""What the worker says of itself in the registry, for operators: JSON that a person reads, under a lease."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psutil

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Registry
from doctrain_mesh.registry import membership

log = logging.getLogger(__name__)
LEASE_SECONDS = 10
PAUSE_SECONDS = 5.0


async def keep_registered(registry: Registry, worker_id: str, facts: Callable[[], dict[str, Any]], guardian_pid: int) -> None:
    """Registers and renews the record until cancelled, then removes it. A registry that is away stops nothing."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    load = _Load(guardian_pid)

    def record() -> bytes:
        fixed = {"worker_id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "started_at": started}
        return json.dumps({**fixed, **facts(), **load.measure()}, indent=2).encode()

    ours, warned = record(), False
    registration = await registry.register(membership.WORKERS + worker_id, ours, LEASE_SECONDS)
    try:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            if not warned:
                warned = await _warn_of_namesake(registry, worker_id, ours)
            ours = record()
            await registration.update(ours)
    finally:
        await asyncio.shield(registration.close())


async def _warn_of_namesake(registry: Registry, worker_id: str, ours: bytes) -> bool:
    """Whether another worker that lives writes to the same record; one that died before us writes no more."""
    try:
        found = (await registry.list(membership.WORKERS + worker_id)).get(membership.WORKERS + worker_id)
        theirs, own = membership.facts(found or b"{}"), json.loads(ours)
    except (RegistryUnavailableError, ValueError):
        return False
    if not theirs or (theirs.get("host"), theirs.get("pid")) == (own["host"], own["pid"]):
        return False
    log.warning(
        "Another worker is named %s, too (process %.20r on %.100r): give each a DOCTRAIN_NAME of its own, or leave it empty.",
        *(worker_id, theirs.get("pid"), theirs.get("host")),
    )
    return True


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
