"""Reads what a tenant's URI names, wherever it is: ``blob://``, ``file://``, ``s3://`` or ``https://``.

``uris`` has judged the text of a URI; here the rest is checked while it is opened: a link that leaves the allowed
folder, the addresses behind a name, the size.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from obstore.store import ObjectStore

from doctrain_mesh.documents import blobs
from doctrain_mesh.documents.blobs import BlobStore, MakeRoom, OpenedObject, unbounded
from doctrain_mesh.documents.errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.documents.object_store import OPEN_SECONDS, READ_SECONDS, open_store, reached
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.network import uris
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.observability.outage import cause
from doctrain_mesh.settings import Settings

if TYPE_CHECKING:
    from doctrain_mesh.documents.web import Web

_PIECE_BYTES = 1 << 20
_BUCKETS = 64
_FILES = "file system"
_NO_FILE = {errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV}
"""Besides a missing one: a path through what is no folder, links in a circle, what cannot be opened as a file."""


class Sources:
    """All places that documents and manifests are read from. Made by ``of`` from the settings.

    Args:
        blobs: the tenants' uploads.
        rules: which URIs may be opened.
        s3_options: for ``s3://`` URIs, such as ``endpoint``; else they come from the environment (``AWS_…``).
        tls: for ``https://``, when the system's authorities are not the right ones.
    """

    def __init__(
        self, blobs: BlobStore, rules: UriRules, *, s3_options: dict[str, Any] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.blobs = blobs
        self.rules = rules
        self._s3_options = s3_options or {}
        self._buckets: dict[str, ObjectStore] = {}
        self._tls = tls
        self._closing = ExitStack()

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[Sources]:
        """The sources of a process, closed at the end."""
        rules = UriRules(file_root=settings.file_root, allow_private_addresses=settings.allow_private_addresses, blob_url=settings.blob_url)
        sources = cls(BlobStore(settings.blob_url), rules)
        try:
            yield sources
        finally:
            sources.close()

    def close(self) -> None:
        """Gives threads back."""
        self._closing.close()

    async def get(self, tenant_id: str, uri: str, max_bytes: int, make_room: MakeRoom = unbounded) -> bytes:
        """All bytes behind a URI; ``make_room`` is awaited before more of them are held.

        Raises InvalidRequestError (a URI that may not be opened), BlobNotFoundError, BlobForbiddenError, BlobTooLargeError,
        BlobUnavailableError (may go well another time).
        """
        self._check(uri)
        if uri.startswith("blob://"):
            return await self.blobs.get(tenant_id, uri, max_bytes, make_room)
        async with self.open_ranged(tenant_id, uri, 0) as opened:
            return await blobs.collect(opened, max_bytes, make_room)

    def open_ranged(self, tenant_id: str, uri: str, offset: int) -> AbstractAsyncContextManager[OpenedObject]:
        """Opens what a URI names, to be read from ``offset`` on; raises as ``get`` does."""
        self._check(uri)
        if uri.startswith("blob://"):
            opened: AbstractAsyncContextManager[OpenedObject] = self.blobs.open_ranged(tenant_id, uri, offset)
            return opened
        if uri.startswith("file://"):
            return self._open_file_ranged(uri, offset)
        if uri.startswith("s3://"):
            return blobs.open_object(*self._s3(uri), offset)
        return self._web.open_ranged(uri, offset)

    @cached_property
    def _web(self) -> Web:
        """Made for the first page: its libraries and the system's certificate authorities cost much of a start, and many read no page."""
        from doctrain_mesh.documents.web import Web

        web = Web(self.rules, self._tls)
        self._closing.callback(web.close)
        return web

    def _check(self, uri: str) -> None:
        reason = self.rules.reason(uri)
        if reason is not None:
            raise InvalidRequestError(reason)

    def _s3(self, uri: str) -> tuple[ObjectStore, str]:
        bucket, _, key = uri[len("s3://") :].partition("/")
        store = self._buckets.get(bucket)
        if store is None:
            if len(self._buckets) >= _BUCKETS:
                self._buckets.clear()
            store = self._buckets[bucket] = open_store(f"s3://{bucket}", **self._s3_options)
        return store, key

    def _open_file(self, uri: str) -> BinaryIO:
        path = uris.file_path(uri)
        assert path is not None, "judged before"
        # Opened first and asked where it is then, so that no link can be changed in between. NONBLOCK: not to wait for a pipe's writer.
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise BlobNotFoundError(f"There is no file at this URI ({cause(error)}).") from error
            raise
        try:
            real = Path(f"/proc/self/fd/{opened}").readlink()
            blob_folder = self.rules.blob_folder
            into_blobs = bool(blob_folder) and real.is_relative_to(Path(blob_folder).resolve())
            if into_blobs or not real.is_relative_to(Path(self.rules.file_root).resolve()):
                raise BlobForbiddenError("The path leads outside the folder that doctrain may read.")
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise BlobNotFoundError("There is no file at this URI, but a folder or something else.")
            return os.fdopen(opened, "rb", buffering=0)
        except BaseException:
            os.close(opened)
            raise

    @asynccontextmanager
    async def _open_file_ranged(self, uri: str, offset: int) -> AsyncIterator[OpenedObject]:
        async with reached("opening a file", OPEN_SECONDS, place=_FILES):
            file = await asyncio.to_thread(self._open_file, uri)
        try:
            facts = os.fstat(file.fileno())
            yield OpenedObject(facts.st_size, f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}", _file_pieces(file, offset))
        finally:
            file.close()


async def _file_pieces(file: BinaryIO, offset: int) -> AsyncIterator[bytes]:
    file.seek(offset)
    while True:
        async with reached("reading a file", READ_SECONDS, place=_FILES):
            piece = await asyncio.to_thread(file.read, _PIECE_BYTES)
        if not piece:
            return
        yield piece
