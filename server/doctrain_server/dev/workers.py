"""The workers of an embedded mesh: each is started again when it ends by itself, as supervisors do with processes."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from doctrain_mesh.errors import ConfigurationError, DoctrainError
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline, first_of
from doctrain_server.services import worker

log = logging.getLogger(__name__)
SESSION_SECONDS = 20.0
YOUNG_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0


@asynccontextmanager
async def kept_workers(count: int, settings: Settings, *, broker: Broker, registry: Registry) -> AsyncIterator[None]:
    """Runs ``worker-1`` to ``worker-count`` while open, each in session at the start; at the end they drain."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        try:
            for number in range(1, count + 1):
                kept = _Kept(dataclasses.replace(settings, name=f"worker-{number}"), broker, registry, over)
                group.create_task(kept.run(), name=f"worker-{number}")
                async with deadline("Opening a worker's session", SESSION_SECONDS):
                    await kept.opened.wait()
            yield
        finally:
            over.set()  # a worker that loses its guardian while it is cancelled forgets that it was


class _Kept:
    """A worker that is kept; ``opened`` is set once it had a session."""

    def __init__(self, settings: Settings, broker: Broker, registry: Registry, over: asyncio.Event) -> None:
        self._settings, self._broker, self._registry, self._over = settings, broker, registry, over
        self._pause = 0.0
        self.opened = asyncio.Event()

    async def run(self) -> None:
        """Returns once it is over and the worker has drained."""
        while not self._over.is_set():
            began = time.monotonic()
            try:
                await self._live()
            except DoctrainError as error:
                if not self._may_go_on_after(error):
                    raise
                if self._over.is_set():
                    log.warning("%s ended before it had drained. %s", self._settings.name, error)
                    return
                young = time.monotonic() - began < YOUNG_SECONDS
                self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS) if young else 0.0
                log.warning("%s ended; it is started again in %g s. %s", self._settings.name, self._pause, error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause):
                        await self._over.wait()

    def _may_go_on_after(self, error: DoctrainError) -> bool:
        """Whether another start may go better. At its first one a worker says what it lacks; later Postgres may be away for a while."""
        return isinstance(error, worker.WorkerEndedError) or (self.opened.is_set() and not isinstance(error, ConfigurationError))

    async def _live(self) -> None:
        async with worker.running(self._settings, broker=self._broker, registry=self._registry) as working:
            await first_of(working.session.opened.wait(), self._over.wait())
            self.opened.set()
            await self._over.wait()
