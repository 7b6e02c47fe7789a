"""Where long uploads lie until their end, at which their name is known: in a folder apart, so that what broke off is found there.

They become objects at their end, and are renamed at once; what is older than an upload may last belongs to a process that died.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore

from doctrain_mesh.documents.object_store import (
    DISCARD_SECONDS,
    OPEN_SECONDS,
    Refusals,
    reached,
    remove,
    remove_below,
    tenant_folder,
)
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.supervise import to_the_end

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FOLDER = "uploading"
COMPLETE_SECONDS = 60.0
_PART_BYTES, _PARTS_AT_ONCE = 5 << 20, 2
_REMOVING = "removing uploads that broke off"

log = logging.getLogger(__name__)


class Staged:
    """An upload under way: what is written is no object before it becomes one, and what is discarded leaves nothing."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store, self._path = store, path
        self._writer = obstore.open_writer_async(store, path, buffer_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    async def write(self, piece: bytes) -> None:
        """Adds a piece; the caller bounds the time and translates the store's errors."""
        await self._writer.write(piece)

    async def become(self, path: str) -> None:
        """Makes the upload an object of that path, whatever is cancelled meanwhile. Raises BlobUnavailableError, BlobForbiddenError."""
        await to_the_end(self._complete(path))

    async def _complete(self, path: str) -> None:
        async with reached("storing an upload", COMPLETE_SECONDS):
            await self._writer.close()
            await obstore.rename_async(self._store, self._path, path)

    async def discard(self) -> None:
        """Removes what came of the upload, whatever is cancelled meanwhile."""
        del self._writer  # a store drops what was written of half an object with it, and frames of a traceback may hold this one for long
        await to_the_end(self._remove())

    async def _remove(self) -> None:
        try:
            await remove(self._store, self._path, "removing an upload that failed")
        except DoctrainError as error:
            log.warning("%s may be left of an upload that failed, until it is looked for what broke off: %s", self._path, error)


class Staging:
    """That of one object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @asynccontextmanager
    async def writing(self, tenant_id: str) -> AsyncIterator[Staged]:
        """Opens a place for an upload, which is discarded when it fails."""
        staged = Staged(self._store, f"{FOLDER}/{tenant_folder(tenant_id)}/{uuid.uuid4().hex}")
        try:
            yield staged
        except BaseException:
            await staged.discard()
            raise

    async def remove_older(self, moment: datetime) -> AsyncIterator[int]:
        """Removes what came last before that moment, page by page; tells after each how many of it.

        Raises BlobUnavailableError, BlobForbiddenError, once all is removed that can be.
        """
        refusals = Refusals()
        if isinstance(self._store, LocalStore):
            with refusals.passed_over():
                yield await _remove_parts(Path(self._store.prefix or "/", FOLDER), moment, refusals)
        async for count in remove_below(self._store, FOLDER, _REMOVING, before=moment):
            yield count
        refusals.check()


async def _remove_parts(folder: Path, moment: datetime, refusals: Refusals) -> int:
    """In a folder of files half an object lies under a name that no listing shows."""
    async with reached(_REMOVING, OPEN_SECONDS):
        parts = await asyncio.to_thread(_older_parts, folder, moment)
    count = 0
    for part in parts:
        with refusals.passed_over(str(part)):
            async with reached(_REMOVING, DISCARD_SECONDS, deed="remove"):
                await asyncio.to_thread(part.unlink, missing_ok=True)
            count += 1
    return count


def _older_parts(folder: Path, moment: datetime) -> list[Path]:
    found = []
    for path in folder.glob("*/*#*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < moment.timestamp():
                found.append(path)
    return found
