"""Where tenants' bytes are kept: any object store's URL, under a prefix for each tenant, named by their content.

The same bytes have the same URI, so an upload or a request that is repeated stores nothing twice. A ``blob://`` URI
holds no tenant: the caller's own prefix is put before it, so it cannot name what another tenant stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import obstore

from doctrain_mesh.documents import artifacts, object_store
from doctrain_mesh.documents.artifacts import Artifacts
from doctrain_mesh.documents.errors import BlobNotFoundError, BlobRangeError, BlobTooLargeError
from doctrain_mesh.documents.object_store import OPEN_SECONDS, READ_SECONDS, open_store, reached, remove_empty_folders, tenant_folder
from doctrain_mesh.documents.staging import FOLDER as STAGING
from doctrain_mesh.documents.staging import Staging
from doctrain_mesh.errors import BlobUnavailableError
from doctrain_mesh.network.uris import BlobKey, parse_blob
from doctrain_mesh.supervise import unwrapped_group

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

PUT_SECONDS = 60.0
STREAM_SECONDS = 900.0

_PIECE_BYTES = 1 << 20
_STAGED_BYTES = 8 << 20
_BELIEVED_BYTES = 32 << 20
_PACK_BYTES = 8 << 20
_PACKED_BELOW_BYTES = 256 << 10
_PACK_FROM = 4
_AT_ONCE = 16

MakeRoom: TypeAlias = Callable[[int], Awaitable[None]]
"""Waits until so many more bytes may be held in memory."""

Admit: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Told the SHA-256 and the size of what is about to be stored; what it raises keeps it from being stored."""


async def unbounded(_count: int) -> None:
    """Room for any number of bytes."""


async def anything(_sha256: str, _size: int) -> None:
    """Admits whatever is to be stored."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What was stored: its ``blob://`` URI, its size in bytes, its SHA-256 in hexadecimal."""

    uri: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object being read.

    Args:
        size: bytes of the whole object.
        etag: changes when the object does; compare it before reading on at an offset.
        pieces: the bytes from the offset on.
    """

    size: int
    etag: str
    pieces: AsyncIterator[bytes]


class BlobStore:
    """The tenants' bytes at one object store.

    Args:
        url: ``file:///folder`` (made when missing), ``memory:///``, ``s3://bucket/prefix`` or another that obstore takes.
        options: the store's own, such as ``endpoint``; else they come from the environment (``AWS_…``).

    Attributes:
        artifacts: what was made of documents, in the same store.
        staging: where long uploads lie until their end, in the same store.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._store = open_store(url, **options)
        self.artifacts, self.staging = Artifacts(self._store), Staging(self._store)

    async def look(self) -> None:
        """Asks for anything that it holds. Raises BlobUnavailableError."""
        async with reached("looking into the store", OPEN_SECONDS):
            await anext(obstore.list(self._store, chunk_size=1).__aiter__(), None)

    async def put(self, tenant_id: str, content: bytes, admit: Admit = anything) -> StoredBlob:
        """Stores bytes. Raises BlobUnavailableError, and what ``admit`` raises."""
        sha256 = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        await admit(sha256, len(content))
        async with reached("storing a blob", PUT_SECONDS):
            await obstore.put_async(self._store, _path(tenant_id, sha256), content)
        return StoredBlob(f"blob://{sha256}", len(content), sha256)

    async def put_many(self, tenant_id: str, contents: Sequence[bytes], admit: Admit = anything) -> list[str]:
        """Stores the inline documents of one request, small ones packed together; answers their URIs in order.

        Two thousand documents are a few objects, not two thousand. Raises BlobUnavailableError, and what ``admit`` raises.
        """
        small = [i for i, content in enumerate(contents) if len(content) <= _PACKED_BELOW_BYTES]
        if len(small) < _PACK_FROM:
            small = []
        uris = [""] * len(contents)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def put_pack(pack: Sequence[int]) -> None:
            async with gate:
                blob = await self.put(tenant_id, b"".join(contents[i] for i in pack), admit)
            offset = 0
            for i in pack:
                uris[i] = f"{blob.uri}/{offset}/{len(contents[i])}"
                offset += len(contents[i])

        async def put_alone(i: int) -> None:
            async with gate:
                uris[i] = (await self.put(tenant_id, contents[i], admit)).uri

        packed = set(small)
        async with unwrapped_group() as group:
            for pack in _packs(small, contents):
                group.create_task(put_pack(pack))
            for i in range(len(contents)):
                if i not in packed:
                    group.create_task(put_alone(i))
        return uris

    async def put_stream(self, tenant_id: str, pieces: AsyncIterator[bytes], max_bytes: int, admit: Admit = anything) -> StoredBlob:
        """Stores bytes as they come, never all in memory.

        Raises BlobTooLargeError, BlobUnavailableError, and what ``pieces`` and ``admit`` raise.
        """
        digest = hashlib.sha256()
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                if size > max_bytes:
                    raise BlobTooLargeError(max_bytes)
                digest.update(piece)
                yield piece

        source = counted()
        head = bytearray()
        async for piece in source:
            head += piece
            if len(head) >= _STAGED_BYTES:
                break
        else:
            return await self.put(tenant_id, bytes(head), admit)
        return await self._put_staged(tenant_id, bytes(head), source, lambda: (digest.hexdigest(), size), admit)

    async def _put_staged(
        self, tenant_id: str, head: bytes, rest: AsyncIterator[bytes], read: Callable[[], tuple[str, int]], admit: Admit
    ) -> StoredBlob:
        """The name follows from the content, so a long stream is stored under a name of its own and then renamed.

        It becomes an object once all of it was read and is admitted. ``read`` answers the SHA-256 and the size of what was read of it.
        """
        async with self.staging.writing(tenant_id) as staged:
            async with reached("storing an upload", STREAM_SECONDS):
                await staged.write(head)
                async for piece in rest:
                    await staged.write(piece)
            sha256, size = read()
            await admit(sha256, size)
            await staged.become(_path(tenant_id, sha256))
        return StoredBlob(f"blob://{sha256}", size, sha256)

    async def _remove(self, path: str) -> None:
        await object_store.remove(self._store, path, "deleting a blob")

    async def delete(self, tenant_id: str, sha256: str) -> None:
        """Removes a blob; one that is not there is as good. Raises BlobUnavailableError."""
        await self._remove(_path(tenant_id, sha256))

    async def has_any(self, tenant: int, tenant_id: str) -> bool:
        """Whether anything is kept for a tenant, or under way, or was made of its documents. Raises BlobUnavailableError."""
        for folder in _folders(tenant, tenant_id):
            async with reached("listing what a tenant stored", OPEN_SECONDS):
                if await anext(obstore.list(self._store, folder, chunk_size=1).__aiter__(), None):
                    return True
        return False

    async def remove_all(self, tenant: int, tenant_id: str) -> AsyncIterator[int]:
        """Removes all of that, page by page, and on a disk the empty folders; tells after each page how many of it.

        Raises BlobUnavailableError, BlobForbiddenError, once all is removed that can be.
        """
        refusals = object_store.Refusals()
        for folder in _folders(tenant, tenant_id):
            with refusals.passed_over():
                async for count in object_store.remove_below(self._store, folder, "removing what a tenant stored"):
                    yield count
            await asyncio.to_thread(remove_empty_folders, self._store, folder)
        refusals.check()

    async def get(self, tenant_id: str, uri: str, max_bytes: int, make_room: MakeRoom = unbounded) -> bytes:
        """The bytes behind a ``blob://`` URI of this tenant's.

        Raises BlobNotFoundError, BlobRangeError, BlobTooLargeError, BlobUnavailableError.
        """
        key = _key(uri)
        if key.length is None:
            async with self.open_ranged(tenant_id, uri, 0) as opened:
                return await collect(opened, max_bytes, make_room)
        if key.length > max_bytes:
            raise BlobTooLargeError(max_bytes)
        if key.length == 0:
            return b""
        await make_room(key.length)
        return await self._get_range(_path(tenant_id, key.sha256), key.offset, key.length)

    async def _get_range(self, path: str, offset: int, length: int) -> bytes:
        try:
            async with reached("reading a blob", READ_SECONDS):
                found = bytes(await obstore.get_range_async(self._store, path, start=offset, length=length))
        except BlobUnavailableError as error:
            # Stores have no error of their own for a range that begins beyond the end.
            size = await self._size(path)
            if size <= offset:
                raise BlobRangeError(offset, length, size) from error
            raise
        if len(found) < length:
            raise BlobRangeError(offset, length, offset + len(found))
        return found

    async def _size(self, path: str) -> int:
        async with reached("looking at a blob", OPEN_SECONDS):
            return (await obstore.head_async(self._store, path))["size"]

    def open_ranged(self, tenant_id: str, uri: str, offset: int) -> Any:
        """An async context manager of an OpenedObject that reads from ``offset`` on."""
        return open_object(self._store, _path(tenant_id, _key(uri).sha256), offset)


async def collect(opened: OpenedObject, max_bytes: int, make_room: MakeRoom = unbounded) -> bytes:
    """All bytes of what was opened at its beginning. Raises BlobTooLargeError, and what reading it raises.

    Room is made for all of a small object at once, so that several do not wait for each other half read. A larger one gets it
    as its bytes arrive: a size is easily told by a server that then sends nothing.
    """
    if opened.size > max_bytes:
        raise BlobTooLargeError(max_bytes)
    room = opened.size if opened.size <= _BELIEVED_BYTES else 0
    if room:
        await make_room(room)
    content = bytearray()
    async for piece in opened.pieces:
        size = len(content) + len(piece)
        if size > max_bytes:
            raise BlobTooLargeError(max_bytes)
        if size > room:
            await make_room(size - room)
            room = size
        content += piece
    return bytes(content)


@asynccontextmanager
async def open_object(store: ObjectStore, path: str, offset: int) -> AsyncIterator[OpenedObject]:
    """An object from ``offset`` on, in pieces of about a MiB, all of one version of it.

    Raises BlobNotFoundError, BlobForbiddenError, BlobUnavailableError; the pieces raise BlobChangedError as well.
    """
    async with reached("opening an object", OPEN_SECONDS):
        try:
            if offset:
                found, meta = None, await obstore.head_async(store, path)
            else:
                found = await obstore.get_async(store, path)
                meta = found.meta
        except ValueError as error:
            raise BlobNotFoundError("There is nothing at this URI: it names a key that no object can have here.") from error
    etag = meta["e_tag"] or f"{meta['size']}-{meta['last_modified'].isoformat()}"
    pieces = _pieces(found) if found else _pieces_from(store, path, offset, meta)
    yield OpenedObject(meta["size"], etag, pieces)


async def _pieces_from(store: ObjectStore, path: str, offset: int, meta: ObjectMeta) -> AsyncIterator[bytes]:
    if offset >= meta["size"]:
        return
    same: GetOptions = {"if_match": meta["e_tag"]} if meta["e_tag"] else {"if_unmodified_since": meta["last_modified"]}
    async with reached("opening an object", OPEN_SECONDS):
        found = await obstore.get_async(store, path, options={"range": {"offset": offset}, **same})
    async for piece in _pieces(found):
        yield piece


async def _pieces(found: GetResult) -> AsyncIterator[bytes]:
    stream = found.stream(min_chunk_size=_PIECE_BYTES).__aiter__()
    while True:
        async with reached("reading an object", READ_SECONDS):
            try:
                piece = bytes(await anext(stream))
            except StopAsyncIteration:
                return
        yield piece


def _packs(small: Sequence[int], contents: Sequence[bytes]) -> list[list[int]]:
    packs: list[list[int]] = []
    room = 0
    for i in small:
        if len(contents[i]) > room:
            packs.append([])
            room = _PACK_BYTES
        packs[-1].append(i)
        room -= len(contents[i])
    return packs


def _folders(tenant: int, tenant_id: str) -> list[str]:
    folder = tenant_folder(tenant_id)
    return [f"tenants/{folder}", artifacts.folder_of(tenant, tenant_id), f"{STAGING}/{folder}"]


def _key(uri: str) -> BlobKey:
    key = parse_blob(uri)
    if key is None:
        raise BlobNotFoundError("There is nothing at this URI.")
    return key


def _path(tenant_id: str, sha256: str) -> str:
    return f"tenants/{tenant_folder(tenant_id)}/{sha256[:2]}/{sha256}"
