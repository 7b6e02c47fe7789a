"""Starts trainings of documents that a tenant gives: inline, in a manifest, or numbered (docs/protocol.md, "StartTraining")."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import Identity
from doctrain_coordinator.tenants.uploads import Uploads
from doctrain_coordinator.trainings import chunks
from doctrain_coordinator.trainings.accepting import Accepted, Accepting, Standing, new_task_id, traceparent
from doctrain_coordinator.trainings.chunks import Chunk, Row
from doctrain_coordinator.trainings.manifests import ManifestReader
from doctrain_coordinator.trainings.storing import NewTraining
from doctrain_mesh.documents.errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import invalid_field

FIRST_LINES_SECONDS = 15.0
"""A manifest that gives no document within that long is accepted all the same, and loaded on."""
LIKELY_LINE_BYTES = 100
"""Of a manifest of which no line is known."""
MOST_DUPLICATES = 100
Aside = Callable[[], AbstractAsyncContextManager[None]]
"""Open while a call waits for a manifest's server, which is its tenant's choice: whatever that does, it keeps no other tenant waiting."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that came with the request: at a URI or, with ``content``, itself. ``metadata`` is JSON."""

    document_id: str
    uri: str
    content: bytes | None
    media_type: str | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Numbered:
    """Documents that differ by their number only, which takes the place of ``{n}``."""

    uri_template: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """Whole lines of a manifest, from its first on, and whether it goes on after them."""

    lines: bytes
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be trained, checked: one of ``documents``, ``manifest_uri`` and ``numbered``.

    Args:
        task_id: empty where the caller chose none.
        request_hash: the same for requests of the same content.
        duplicate_ids: what a dry run's ``documents`` name more than once.
        beginning: what a dry run is to take for the manifest, instead of what is at its place.
    """

    task_id: str
    request_hash: bytes
    documents: Sequence[Document]
    manifest_uri: str
    numbered: Numbered | None
    retrain: bool
    validate_only: bool
    duplicate_ids: Sequence[str]
    beginning: Beginning | None = None


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A manifest that is open at its beginning; ``size`` in bytes."""

    reader: ManifestReader
    etag: str
    size: int


class Starting:
    """Everything that StartTraining does after the request was checked. ``most_documents``: of one training."""

    def __init__(self, accepting: Accepting, sources: Sources, uploads: Uploads, *, most_documents: int) -> None:
        self._accepting, self._sources, self._uploads, self._most = accepting, sources, uploads, most_documents

    async def start(self, start: Start, deed: Deed, aside: Aside) -> tuple[Accepted, Standing]:
        """Stores the training, or finds the one that the same request made before; also answers how the caller stands, with its plan.

        Raises InvalidRequestError, InvalidManifestError, TrainingExistsError, QuotaExceededError, UnavailableError.
        """
        caller, task_id = deed.caller, start.task_id or new_task_id()
        standing = await self._accepting.standing(caller, task_id, start.request_hash)
        if standing.known is not None and not start.validate_only:
            return standing.known, standing
        if standing.known is None and not start.duplicate_ids:
            standing.check_trainings()
        if start.validate_only:
            return await self._dry_run(caller, start, standing, aside), standing
        return await self._store(start, task_id, standing, deed, aside), standing

    async def _dry_run(self, caller: Identity, start: Start, standing: Standing, aside: Aside) -> Accepted:
        """What ``_store`` would say, without storing; duplicates are told before what the plan allows, as they are refused before."""
        found = await self._looked_at(caller, start, aside, existed=standing.known is not None)
        if not found.existed and not found.duplicate_ids:
            standing.check_documents(found.documents)
        return found

    async def _looked_at(self, caller: Identity, start: Start, aside: Aside, *, existed: bool) -> Accepted:
        if not start.manifest_uri:
            count = start.numbered.count if start.numbered is not None else len(start.documents)
            return Accepted(0, count, existed, duplicate_ids=start.duplicate_ids[:MOST_DUPLICATES])
        async with self._tried(caller, start, aside) as reader:
            chunk = await _first_chunk(reader)
        found = list(reader.duplicate_ids)[:MOST_DUPLICATES]
        goes_on = not chunk.last or (start.beginning is not None and start.beginning.goes_on)
        return Accepted(0, chunk.count, existed, duplicate_ids=found, partial=goes_on, lines=chunk.lines)

    @asynccontextmanager
    async def _tried(self, caller: Identity, start: Start, aside: Aside) -> AsyncIterator[ManifestReader]:
        """The manifest of a dry run, at its beginning."""
        if start.beginning is None:
            async with aside(), self._manifest(caller, start.manifest_uri, keep_duplicates=True) as manifest:
                yield manifest.reader
        else:
            async with self._reader(_whole(start.beginning.lines), keep_duplicates=True) as reader:
                yield reader

    async def _store(self, start: Start, task_id: str, standing: Standing, deed: Deed, aside: Aside) -> Accepted:
        caller = deed.caller
        new = NewTraining(caller.tenant, task_id, start.request_hash, traceparent(), retrain=start.retrain)
        if start.manifest_uri:
            async with aside():
                new, first = await self._of_manifest(caller, start.manifest_uri, new)
            standing.check_documents(first.count)
        elif start.numbered is not None:
            standing.check_documents(start.numbered.count)
            new, first = _of_numbers(start.numbered, new)
        else:
            standing.check_documents(len(start.documents))
            async with self._rows(caller, start.documents) as rows:
                return await self._accepting.store(replace(new, size=len(rows)), Chunk(len(rows), 0, last=True, rows=rows), deed)
        return await self._accepting.store(new, first, deed)

    async def _of_manifest(self, caller: Identity, uri: str, new: NewTraining) -> tuple[NewTraining, Chunk]:
        async with self._manifest(caller, uri) as manifest:
            chunk = await _first_chunk(manifest.reader)
        bytes_each = chunk.offset / chunk.count if chunk.count else LIKELY_LINE_BYTES
        expected = chunk.count if chunk.last else min(int(manifest.size / bytes_each), self._most)
        return replace(new, size=expected, manifest_uri=uri, load_etag=manifest.etag, load_count=expected), chunk

    @asynccontextmanager
    async def _manifest(self, caller: Identity, uri: str, *, keep_duplicates: bool = False) -> AsyncIterator[_Manifest]:
        try:
            async with (
                self._sources.open_ranged(caller.tenant_id, uri, 0) as opened,
                self._reader(opened.pieces, keep_duplicates=keep_duplicates) as reader,
            ):
                yield _Manifest(reader, opened.etag, opened.size)
        except (BlobNotFoundError, BlobForbiddenError) as error:
            raise invalid_field("manifest_uri", f"The manifest cannot be read: {error}") from error

    def _reader(self, pieces: AsyncIterator[bytes], *, keep_duplicates: bool) -> aclosing[ManifestReader]:
        return aclosing(ManifestReader(pieces, self._sources.rules, keep_duplicates=keep_duplicates, enough_bytes=chunks.FIRST_BYTES))

    @asynccontextmanager
    async def _rows(self, caller: Identity, documents: Sequence[Document]) -> AsyncIterator[list[Row]]:
        inline = [document.content for document in documents if document.content is not None]
        async with self._uploads.stored(caller, inline) as uris:
            stored = iter(uris)
            yield [(d.document_id, d.uri if d.content is None else next(stored), d.media_type, d.metadata) for d in documents]


def _of_numbers(numbered: Numbered, new: NewTraining) -> tuple[NewTraining, Chunk]:
    count = numbered.count
    new = replace(new, size=count, uri_template=numbered.uri_template, number_offset=numbered.first, load_count=count)
    return new, chunks.numbered(0, count, chunks.FIRST)


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _first_chunk(reader: ManifestReader) -> Chunk:
    until = time.monotonic() + FIRST_LINES_SECONDS
    chunk = await reader.next_chunk(chunks.FIRST, chunks.SECONDS)
    while not chunk.count and not chunk.last and time.monotonic() < until:
        chunk = await reader.next_chunk(chunks.FIRST, chunks.SECONDS)
    if not chunk.count and chunk.last:
        raise invalid_field("manifest_uri", "The manifest is empty.")
    return chunk
