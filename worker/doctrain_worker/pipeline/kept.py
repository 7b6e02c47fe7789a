"""Slices that were recognised (OCR), kept as artifacts: whoever reads the same document again pays for what is left.

They are stored while the child reads on, so that of a document whose worker or child is killed nothing is lost but the last
slice; a retry, a resumed training, another worker and another chunker find them. A store that fails costs the reuse, never the document.

What a child says is not to be trusted, and a slice goes to another child later, so it is checked before it is stored and when it
comes back. It comes back for the same bytes of the same document of the same tenant only.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

from doctrain_mesh.documents.artifacts import Artifacts, Origin
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.supervise import deadline, for_each
from doctrain_worker.pipeline.passage import DocumentFailedError, Passage
from doctrain_worker.pipeline.recipe import Recipes
from doctrain_worker.pipeline.room import Share
from doctrain_worker.pipeline.wire import ReadSlice, Slice

MOST_SLICE_BYTES = 512 << 10
MOST_BYTES = 32 << 20
"""Of one document."""

LEAST_DOCUMENT_BYTES = 8 << 10
"""Smaller documents hold a page or two at most: to ask for their slices would cost more than it saves."""

MOST_PAGES = 100
"""Of a slice."""

AT_ONCE = 8
MOST_WAITING = 16
STORE_SECONDS = 10.0
READ_SECONDS = 30.0

log = logging.getLogger(__name__)

_encoder = Encoder()
_kept = Decoder(ReadSlice)
_slice = Decoder(Slice)

IsDeleted = Callable[[Passage], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class KeptSlices:
    """Those of a worker's documents.

    Args:
        artifacts: where they are; none: nowhere.
        recipes: how documents are read.
        is_deleted: whether a document was deleted after its training was started.
    """

    artifacts: Artifacts | None
    recipes: Recipes
    is_deleted: IsDeleted

    @asynccontextmanager
    async def of(self, passage: Passage) -> AsyncIterator[DocumentSlices]:
        """Those of a document on its way. At its end, well or not, what waits is stored; when it is cancelled, it is not."""
        slices = DocumentSlices(self, passage)
        try:
            try:
                yield slices
            except DocumentFailedError:
                await slices.settle()
                raise
            await slices.settle()
        finally:
            await slices.stop()


class DocumentSlices:
    """Made by ``KeptSlices.of``."""

    def __init__(self, kept: KeptSlices, passage: Passage) -> None:
        self._artifacts, self._is_deleted, self._recipes = kept.artifacts, kept.is_deleted, kept.recipes
        self._passage = passage
        self._waiting: asyncio.Queue[ReadSlice | None] = asyncio.Queue()
        self._storing: asyncio.Task[None] | None = None
        self._room = MOST_BYTES

    async def found(self, size: int, share: Share) -> list[ReadSlice]:
        """What an earlier reading of the same bytes, so many, left. To be asked before anything is kept."""
        if size < LEAST_DOCUMENT_BYTES:
            self._artifacts = None
        if self._artifacts is None:
            return []
        found: list[ReadSlice] = []
        try:
            async with deadline("Reading kept slices", READ_SECONDS):
                await self._find(self._artifacts, found, share)
        except DoctrainError as error:
            log.warning("Not all that was kept of document %d of training %s is used: %s", *self._passage.named, error)
        return found

    async def _find(self, artifacts: Artifacts, found: list[ReadSlice], share: Share) -> None:
        origin = self._origin

        async def find(name: str, size: int) -> None:
            if not share.take(size):
                await share.wait(size)
            one = _read(await artifacts.get(origin, name))
            if one is not None:
                found.append(one)

        wanted = []
        for name, size in (await artifacts.sizes(origin)).items():
            if size <= min(2 * MOST_SLICE_BYTES, self._room):
                self._room -= size
                wanted.append((name, size))
        await for_each(wanted, lambda one: find(*one), at_once=AT_ONCE)

    def keep(self, one: ReadSlice) -> None:
        """Has a slice stored meanwhile. One that is too large, or comes faster than they can be stored, is not kept."""
        size = len(one.value)
        if (
            self._artifacts is None
            or size > min(MOST_SLICE_BYTES, self._room)
            or self._waiting.qsize() >= MOST_WAITING
            or not _is_sound(one)
        ):
            return
        self._room -= size
        self._waiting.put_nowait(one)
        if self._storing is None:
            self._storing = asyncio.create_task(self._store(self._artifacts), name="kept slices")

    async def settle(self) -> None:
        """Waits until what waits is stored, but not long."""
        if self._storing is not None:
            self._waiting.put_nowait(None)
            ended, _ = await asyncio.wait({self._storing}, timeout=STORE_SECONDS)
            for storing in ended:
                storing.result()

    async def stop(self) -> None:
        """Stores no more."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait({self._storing})

    @property
    def _origin(self) -> Origin:
        document, shard = self._passage.document, self._passage.shard
        digest = hashlib.sha256(self._passage.content_hash + self._recipes.of_reading(document)).digest()
        return Origin(shard.tenant_id, document.document_id, digest)

    async def _store(self, artifacts: Artifacts) -> None:
        failed = False
        while (one := await self._waiting.get()) is not None:
            if failed:
                continue
            try:
                async with deadline("Keeping a slice", STORE_SECONDS):
                    await self._put(artifacts, one)
            except DoctrainError as error:
                failed = True
                log.warning("No more of document %d of training %s is kept: %s", *self._passage.named, error)

    async def _put(self, artifacts: Artifacts, one: ReadSlice) -> None:
        """A delete removes what is there when it comes; what comes after it is removed here."""
        origin = self._origin
        name = hashlib.sha256(f"{one.part}\n{one.first_page}".encode()).hexdigest()[:32]
        await artifacts.put(origin, name, _encoder.encode(one))
        try:
            deleted = await self._is_deleted(self._passage)
        except DoctrainError:
            await artifacts.remove(origin, name)
            raise
        if deleted:
            await artifacts.remove(origin, name)


def _read(content: bytes) -> ReadSlice | None:
    try:
        one = _kept.decode(content)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return one if _is_sound(one) else None


def _is_sound(one: ReadSlice) -> bool:
    """Whether its value is a slice of the pages that it is said to be of."""
    try:
        value = _slice.decode(one.value)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    pages = one.last_page - one.first_page + 1
    return (
        (value.part, value.first_page, value.last_page) == (one.part, one.first_page, one.last_page)
        and one.first_page > 0
        and 0 < pages <= MOST_PAGES
        and 0 <= value.recognised <= pages
        and 0 <= value.blank <= pages
        and all(one.first_page <= block.page <= one.last_page for block in value.blocks)
    )
