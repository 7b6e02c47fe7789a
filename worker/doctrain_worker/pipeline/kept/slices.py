"""The kept slices of a worker's documents, each document's while it is on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from doctrain_mesh.documents.artifacts import Artifacts
from doctrain_worker.pipeline.kept import finding
from doctrain_worker.pipeline.kept.budget import Budget
from doctrain_worker.pipeline.kept.shelf import IsDeleted, Shelf
from doctrain_worker.pipeline.kept.storing import Storing
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.recipe import Recipes
from doctrain_worker.pipeline.room import Share
from doctrain_worker.pipeline.wire import ReadSlice

LEAST_DOCUMENT_BYTES = 8 << 10
"""Smaller documents hold a page or two at most: to ask for their slices would cost more than it saves."""


class DocumentSlices:
    """The kept slices of one document; without a shelf, none. Made by ``KeptSlices.of``."""

    def __init__(self, shelf: Shelf | None) -> None:
        self._shelf = shelf
        self._budget = Budget()
        self._storing: Storing | None = None

    async def found(self, size: int, share: Share) -> list[ReadSlice]:
        """What an earlier reading of the same bytes, so many, left. To be asked before anything is kept: of a small document nothing is."""
        if self._shelf is None or size < LEAST_DOCUMENT_BYTES:
            return []
        self._storing = Storing(self._shelf, self._budget)
        return await finding.found(self._shelf, self._budget, share)

    def keep(self, one: ReadSlice) -> None:
        """Has a slice stored meanwhile, if it may be kept."""
        if self._storing is not None:
            self._storing.keep(one)

    async def settle(self) -> None:
        """Waits until what waits is stored, but not long."""
        if self._storing is not None:
            await self._storing.settle()

    async def stop(self) -> None:
        """Stores no more."""
        if self._storing is not None:
            await self._storing.stop()


@dataclass(frozen=True, slots=True)
class KeptSlices:
    """The kept slices of a worker's documents.

    Args:
        artifacts: where they are; none: nowhere.
        recipes: how documents are read.
        is_deleted: whether a document was deleted after its training was started, itself or with its tenant.
    """

    artifacts: Artifacts | None
    recipes: Recipes
    is_deleted: IsDeleted

    @asynccontextmanager
    async def of(self, passage: Passage) -> AsyncIterator[DocumentSlices]:
        """The slices of a document on its way. At its end, well or not, what waits is stored; when it is cancelled, it is not."""
        slices = DocumentSlices(Shelf(self.artifacts, self.recipes, self.is_deleted, passage) if self.artifacts is not None else None)
        try:
            try:
                yield slices
            except DocumentFailedError:
                await slices.settle()
                raise
            await slices.settle()
        finally:
            await slices.stop()
