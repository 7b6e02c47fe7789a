"""Artifacts: what was made of a tenant's documents at some cost, kept beside their bytes so that it need not be made again.

Each belongs to one document of one tenant, and is named by what it was made of and how: what is there never changes, and storing
it twice stores it once. They lie apart from uploads, so that what is old among them is found without looking at all of those, in a folder
that no later tenant of the same name has: what comes after its tenant was removed is known as nobody's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import obstore

from doctrain_mesh.documents.object_store import (
    OPEN_SECONDS,
    READ_SECONDS,
    listed,
    reached,
    remove,
    remove_below,
    remove_empty_folders,
    tenant_folder,
)
from doctrain_mesh.supervise import for_each

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

FOLDER = "artifacts"
_AT_ONCE = 8
_REMOVING = "removing artifacts"


@dataclass(frozen=True, slots=True)
class Origin:
    """What artifacts were made of: a document of a tenant (its key, its name), and a digest of its bytes and of how they were worked on."""

    tenant: int
    tenant_id: str
    document_id: str
    digest: bytes

    @property
    def path(self) -> str:
        """The folder of all that was made so."""
        return f"{_of_document(self.tenant, self.tenant_id, self.document_id)}/{self.digest.hex()}"


class Artifacts:
    """The artifacts in one object store. Every method raises BlobUnavailableError and BlobForbiddenError."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, origin: Origin, name: str, content: bytes) -> None:
        """Keeps one."""
        async with reached("keeping an artifact", OPEN_SECONDS):
            await obstore.put_async(self._store, f"{origin.path}/{name}", content)

    async def sizes(self, origin: Origin) -> dict[str, int]:
        """The names of all that were made so, in their order, with their bytes."""
        return dict(sorted([(meta["path"].rpartition("/")[2], meta["size"]) async for meta in self._listed(origin.path)]))

    async def get(self, origin: Origin, name: str) -> bytes:
        """The bytes of one artifact. Raises BlobNotFoundError."""
        async with reached("reading an artifact", READ_SECONDS):
            return bytes(await (await obstore.get_async(self._store, f"{origin.path}/{name}")).bytes_async())

    async def remove(self, origin: Origin, name: str) -> None:
        """Removes one, if it is there."""
        await self._remove(f"{origin.path}/{name}")

    async def remove_document(self, tenant: int, tenant_id: str, document_id: str) -> None:
        """Removes all that was ever made of a document."""
        found = [meta["path"] async for meta in self._listed(_of_document(tenant, tenant_id, document_id))]
        await for_each(found, self._remove, at_once=_AT_ONCE)

    def remove_older(self, moment: datetime) -> AsyncIterator[int]:
        """Removes all that was made before, page by page; tells after each how many. What cannot be removed is told of at the end."""
        return remove_below(self._store, FOLDER, _REMOVING, before=moment)

    async def folders(self) -> dict[str, int]:
        """Those that are there, each with the key of its tenant."""
        async with reached("listing artifacts", OPEN_SECONDS):
            found = await obstore.list_with_delimiter_async(self._store, FOLDER)
        keys = {folder: folder.rpartition(".")[2] for folder in found["common_prefixes"]}
        return {folder: int(key) for folder, key in keys.items() if key.isdecimal()}

    async def remove_folder(self, folder: str) -> AsyncIterator[int]:
        """Removes one of those, with all that is there, as ``remove_older`` does."""
        async for count in remove_below(self._store, folder, _REMOVING):
            yield count
        await asyncio.to_thread(remove_empty_folders, self._store, folder)

    def _listed(self, folder: str) -> AsyncIterator[ObjectMeta]:
        return listed(self._store, folder, "listing artifacts")

    async def _remove(self, path: str) -> None:
        await remove(self._store, path, _REMOVING)


def folder_of(tenant: int, tenant_id: str) -> str:
    """Where all artifacts of a tenant are."""
    return f"{FOLDER}/{tenant_folder(tenant_id)}.{tenant}"


def _of_document(tenant: int, tenant_id: str, document_id: str) -> str:
    return f"{folder_of(tenant, tenant_id)}/{hashlib.sha256(document_id.encode()).hexdigest()}"
