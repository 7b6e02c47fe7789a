"""Where the slices of one reading of one document stand among the artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from doctrain_mesh.documents.artifacts import Artifacts, Origin
from doctrain_worker.pipeline.kept import form
from doctrain_worker.pipeline.passage import Passage
from doctrain_worker.pipeline.recipe import Recipes
from doctrain_worker.pipeline.wire import ReadSlice

IsDeleted = Callable[[Passage], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The artifacts of a document on its way, once its bytes are there. Every method raises what ``Artifacts`` does.

    Args:
        artifacts: what it is a part of.
        recipes: how documents are read.
        is_deleted: whether a document was deleted after its training was started, itself or with its tenant.
        passage: the document.
    """

    artifacts: Artifacts
    recipes: Recipes
    is_deleted: IsDeleted
    passage: Passage

    @property
    def _origin(self) -> Origin:
        document, shard = self.passage.document, self.passage.shard
        digest = hashlib.sha256(self.passage.content_hash + self.recipes.of_reading(document)).digest()
        return Origin(shard.tenant, shard.tenant_id, document.document_id, digest)

    async def sizes(self) -> dict[str, int]:
        """The names of what stands there, with their bytes."""
        return await self.artifacts.sizes(self._origin)

    async def get(self, name: str) -> ReadSlice | None:
        """One of its artifacts; None when it is not sound."""
        return form.read(await self.artifacts.get(self._origin, name))

    async def put(self, one: ReadSlice) -> None:
        """Adds one. A delete removes what is there when it comes; what comes after it is removed here. Raises also DoctrainError.

        After whatever it raises, and after a cancellation, ``remove`` is to be called: nobody knows whether there is a delete.
        """
        await self.artifacts.put(self._origin, form.name_of(one), form.packed(one))
        if await self.is_deleted(self.passage):
            await self.remove(one)

    async def remove(self, one: ReadSlice) -> None:
        """Removes one, if it is there."""
        await self.artifacts.remove(self._origin, form.name_of(one))
