"""Puts slices on their shelf while the document is read on, one after the other."""

from __future__ import annotations

import asyncio
import logging

from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.supervise import deadline
from doctrain_worker.pipeline.kept import form
from doctrain_worker.pipeline.kept.budget import MOST_SLICE_BYTES, Budget
from doctrain_worker.pipeline.kept.shelf import Shelf
from doctrain_worker.pipeline.wire import ReadSlice

MOST_WAITING = 16
STORE_SECONDS = 10.0
REMOVE_SECONDS = 2.0

log = logging.getLogger(__name__)


class Storing:
    """Stores the slices of one document. Begins with the first slice; ``settle`` or ``stop`` ends it."""

    def __init__(self, shelf: Shelf, budget: Budget) -> None:
        self._shelf, self._budget = shelf, budget
        self._waiting: asyncio.Queue[ReadSlice | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._cut_off: ReadSlice | None = None

    def keep(self, one: ReadSlice) -> None:
        """Has a slice stored meanwhile. One that is too large, or comes faster than they can be stored, is not kept."""
        size = len(one.value)
        full = size > MOST_SLICE_BYTES or not self._budget.allows(size) or self._waiting.qsize() >= MOST_WAITING
        if full or not form.is_sound(one):
            return
        self._budget.spend(size)
        self._waiting.put_nowait(one)
        if self._task is None:
            self._task = asyncio.create_task(self._store(), name="kept slices")

    async def settle(self) -> None:
        """Waits until what waits is stored, but not long."""
        if self._task is not None:
            self._waiting.put_nowait(None)
            ended, _ = await asyncio.wait({self._task}, timeout=STORE_SECONDS)
            for task in ended:
                task.result()

    async def stop(self) -> None:
        """Stores no more. Of a slice whose storing did not come to its end nothing stays."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._cut_off is not None:
            try:
                async with deadline("Removing a slice", REMOVE_SECONDS):
                    await self._shelf.remove(self._cut_off)
            except DoctrainError as error:
                log.warning("A slice of document %d of training %s may stay until it is old: %s", *self._shelf.passage.named, error)

    async def _store(self) -> None:
        failed = False
        while (one := await self._waiting.get()) is not None:
            if failed:
                continue
            try:
                async with deadline("Keeping a slice", STORE_SECONDS):
                    self._cut_off = one
                    await self._shelf.put(one)
                    self._cut_off = None
            except DoctrainError as error:
                failed = True
                log.warning("No more of document %d of training %s is kept: %s", *self._shelf.passage.named, error)
