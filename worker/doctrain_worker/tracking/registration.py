"""What the worker says of itself in the registry, for operators and the health policy: JSON that a person reads, under a lease.

It is measured and written by a thread of its own: a loop that is busy says so itself, in the lag that stands there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Registration, Registry
from doctrain_mesh.registry import membership
from doctrain_mesh.supervise import first_of, in_thread
from doctrain_worker.core.tally import Minute, Tally
from doctrain_worker.tracking import machine
from doctrain_worker.tracking.pulse import Pulse

log = logging.getLogger(__name__)
LEASE_SECONDS = 10
PAUSE_SECONDS = 5.0
ENDED_SECONDS = 10.0
"""How long the thread may take for what it measures when it is to end."""


async def keep_registered(
    registry: Registry, worker_id: str, facts: Callable[[], Mapping[str, Any]], *, tally: Tally, guardian_pid: int, folders: Sequence[Path]
) -> None:
    """Registers and renews the record until cancelled, then removes it. A registry that is away stops nothing.

    ``folders`` are where the worker writes: how much is free there is told.
    """
    boot_id = secrets.token_hex(8)
    pulse = Pulse(facts)
    record = _Record(worker_id, boot_id, pulse=pulse, tally=tally, use=machine.Use(guardian_pid), folders=folders)
    registration = await registry.register(membership.WORKERS + worker_id, record.measured(), LEASE_SECONDS)
    ending = threading.Event()

    def renew() -> None:
        while not ending.wait(PAUSE_SECONDS):
            registration.update(record.measured())

    renewing = in_thread("worker's record", renew)
    try:
        await first_of(pulse.beat(), _warn_of_namesakes(registry, worker_id, boot_id), _end_of(renewing))
    finally:
        ending.set()
        await asyncio.shield(_leave(renewing, registration))


async def _end_of(renewing: asyncio.Future[None]) -> None:
    await asyncio.shield(renewing)


async def _leave(renewing: asyncio.Future[None], registration: Registration) -> None:
    await asyncio.wait({renewing}, timeout=ENDED_SECONDS)
    await registration.close()


async def _warn_of_namesakes(registry: Registry, worker_id: str, boot_id: str) -> None:
    """Once, when another worker that lives writes to the same record; one that died before us writes no more."""
    warned = False
    while True:
        # At no fixed distance from our own writes, nor from theirs.
        await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
        warned = warned or await _warn_of_namesake(registry, worker_id, boot_id)


async def _warn_of_namesake(registry: Registry, worker_id: str, boot_id: str) -> bool:
    try:
        found = (await registry.list(membership.WORKERS + worker_id)).get(membership.WORKERS + worker_id)
        theirs = membership.facts(found or b"{}")
    except (RegistryUnavailableError, ValueError):
        return False
    if not theirs or theirs.get("boot_id") == boot_id:
        return False
    log.warning(
        "Another worker is named %s, too (process %.20r on %.100r): give each a DOCTRAIN_NAME of its own, or leave it empty.",
        *(worker_id, theirs.get("pid"), theirs.get("host")),
    )
    return True


class _Record:
    """What is written. ``measured`` is for one thread at a time."""

    def __init__(self, worker_id: str, boot_id: str, *, pulse: Pulse, tally: Tally, use: machine.Use, folders: Sequence[Path]) -> None:
        self._fixed = {
            "worker_id": worker_id,
            "boot_id": boot_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._pulse, self._tally, self._use, self._folders = pulse, tally, use, folders
        self._minute = Minute(time.monotonic(), tally)

    def measured(self) -> bytes:
        """The record as of now; what cannot be measured is not in it."""
        tally = self._tally.copy()
        rates = self._minute.rates(time.monotonic(), tally)
        load = {
            **self._use.measure(),
            "memory_share": machine.memory_share(),
            "disk_free_share": machine.disk_free_share(self._folders),
            "loop_lag_seconds": self._pulse.lag(),
            "documents_ended": tally.done + tally.failed,
            "documents_per_second": rates.documents_per_second,
            "tries_in_last_minute": rates.tries,
            "failure_share": rates.failure_share,
        }
        rounded = {name: round(value, 3) for name, value in load.items() if value is not None}
        return json.dumps({**self._fixed, **self._pulse.facts, **rounded}, indent=2).encode()
