"""Where long uploads lie until their end, at which their name is known: in a folder apart, so that what broke off is found there.

Their rename takes them out within minutes; what is older belongs to a process that died.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import LocalStore

from doctrain_mesh.documents.object_store import listed, remove, tenant_folder
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.supervise import for_each

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FOLDER = "uploading"
_AT_ONCE = 16

log = logging.getLogger(__name__)


class Staging:
    """That of one object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def place(self, tenant_id: str) -> str:
        """A path for another upload."""
        return f"{FOLDER}/{tenant_folder(tenant_id)}/{uuid.uuid4().hex}"

    async def discard(self, path: str) -> None:
        """What came of an upload that failed; mostly nothing, since a store shows an object only when it is whole."""
        try:
            await self._remove(path)
        except DoctrainError as error:
            log.warning("%s may be left of an upload that failed, until it is looked for what broke off: %s", path, error)

    async def remove_older(self, moment: datetime) -> int:
        """Removes what came last before that moment; answers how many. Raises BlobUnavailableError, BlobForbiddenError."""
        found = listed(self._store, FOLDER, "listing uploads that broke off")
        old = [meta["path"] async for meta in found if meta["last_modified"] < moment]
        await for_each(old, self._remove, at_once=_AT_ONCE)
        parts = await asyncio.to_thread(_remove_parts, self._store.prefix, moment) if isinstance(self._store, LocalStore) else 0
        return len(old) + parts

    async def _remove(self, path: str) -> None:
        await remove(self._store, path, "removing an upload that broke off")


def _remove_parts(root: Path | str | None, moment: datetime) -> int:
    """In a folder of files half an object lies under a name that no listing shows."""
    count = 0
    for path in Path(root or "/", FOLDER).glob("*/*#*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < moment.timestamp():
                path.unlink()
                count += 1
    return count
