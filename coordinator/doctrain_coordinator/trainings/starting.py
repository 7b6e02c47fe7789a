"""Accepts trainings: the same request is accepted once, whatever is repeated or races (docs/protocol.md, "StartTraining")."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import outcomes
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.documents import duplicate_id, duplicates
from doctrain_coordinator.store import statements
from doctrain_coordinator.tenants.keys import Identity
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.loaders import Loaders
from doctrain_coordinator.trainings.manifests import Chunk, ManifestReader, Row
from doctrain_coordinator.trainings.requests import Limits, Violations, check_start, invalid
from doctrain_coordinator.trainings.storing import CHUNK_SECONDS, FIRST_CHUNK, NewTraining, Piece
from doctrain_mesh import postgres, telemetry
from doctrain_mesh.blob_errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.blobs import BlobStore
from doctrain_mesh.errors import QuotaExceededError, TrainingExistsError
from doctrain_mesh.postgres import Pool
from doctrain_mesh.sources import Sources
from doctrain_mesh.uris import UriRules

SQL = statements.load("trainings")
READ_SECONDS = 10.0
LARGE_BYTES = 32 * 1024
"""A request from that size on is checked and hashed in a thread; the largest takes a third of a second."""
FIRST_LINES_SECONDS = 15.0
"""A manifest that gives no document within that long is accepted all the same, and loaded on."""
LIKELY_LINE_BYTES = 100
"""Of a manifest of which no line is known."""
MOST_DUPLICATES = 100


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a request came to; ``training`` is 0 for a dry run. ``partial``: of a manifest only ``lines`` were read so far."""

    training: int
    documents: int
    existed: bool = False
    partial: bool = False
    lines: int = 0
    duplicate_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a tenant."""

    name: str
    slots: int


class Starting:
    """Everything that StartTraining does after it was authorised."""

    def __init__(
        self, pool: Pool, changes: Changes, *, blobs: BlobStore, sources: Sources, uris: UriRules, limits: Limits, loaders: Loaders
    ) -> None:
        self._pool, self._blobs, self._sources, self._uris, self._limits = pool, blobs, sources, uris, limits
        self._loaders, self._changes = loaders, changes

    async def plan_of(self, caller: Identity) -> Plan:
        """The limit that applies to the tenant."""
        async with postgres.acquired(self._pool, "reading a plan", seconds=READ_SECONDS) as c:
            row = await c.fetchrow(SQL["tenant_limit"], caller.tenant)
        assert row is not None
        return Plan(row["plan"], row["slots"])

    async def start(self, caller: Identity, request: pb.StartTrainingRequest) -> Accepted:
        """Stores the training, or finds the one that the same request made before.

        Raises InvalidRequestError, InvalidManifestError, RequestTooLargeError, TrainingExistsError, QuotaExceededError, UnavailableError.
        """
        if request.ByteSize() >= LARGE_BYTES:
            twice, digest = await asyncio.to_thread(self._checked, request)
        else:
            twice, digest = self._checked(request)
        task_id = request.training_task_id or new_task_id()
        known = await known_training(self._pool, caller, task_id, digest)
        if request.validate_only:
            return await self._dry_run(caller, request, twice, existed=known is not None)
        if known is None:
            await check_quota(self._pool, caller)
            known = await self._store(caller, request, task_id, digest)
        return known

    def _checked(self, request: pb.StartTrainingRequest) -> tuple[list[str], bytes]:
        """The ids that a dry run names more than once, and the request's hash."""
        check_start(request, request.ByteSize(), self._limits, self._uris)
        twice = duplicates(document.document_id for document in request.documents)
        if twice and not request.validate_only:
            _refuse_duplicates(request, set(twice))
        return twice, request_hash(request)

    async def _dry_run(self, caller: Identity, request: pb.StartTrainingRequest, twice: list[str], *, existed: bool) -> Accepted:
        if not request.manifest_uri:
            return Accepted(0, request.numbered.count or len(request.documents), existed, duplicate_ids=twice[:MOST_DUPLICATES])
        async with self._manifest(caller, request.manifest_uri, keep_duplicates=True) as (reader, _, _):
            chunk = await _first_chunk(reader)
        found = list(reader.duplicate_ids)[:MOST_DUPLICATES]
        return Accepted(0, len(chunk.rows), existed, duplicate_ids=found, partial=not chunk.last, lines=chunk.lines)

    async def _store(self, caller: Identity, request: pb.StartTrainingRequest, task_id: str, digest: bytes) -> Accepted:
        traceparent = telemetry.headers().get("traceparent", "")
        common: dict[str, Any] = {
            "tenant": caller.tenant,
            "task_id": task_id,
            "request_hash": digest,
            "traceparent": traceparent,
            "retrain": request.retrain,
        }
        try:
            if request.manifest_uri:
                training, piece = await self._store_manifest(caller, request.manifest_uri, common)
            elif request.HasField("numbered"):
                training, piece = await self._store_numbered(request.numbered, common)
            else:
                rows = await self._rows(caller, request)
                piece = Piece(len(rows), rows, (), 0, 0, True)
                training = await storing.create(self._pool, NewTraining(size=len(rows), **common), piece)
        except storing.ExistsError:
            known = await known_training(self._pool, caller, task_id, digest)
            assert known is not None
            return known
        self._changes.work()
        if not piece.last:
            self._loaders.poke()
        partial = bool(request.manifest_uri) and not piece.last
        documents = request.numbered.count or piece.count
        outcomes.tell_accepted(training, task_id, caller.tenant_id, documents, partial=partial)
        return Accepted(training, documents, partial=partial, lines=piece.lines)

    async def _store_numbered(self, numbered: pb.NumberedDocuments, common: dict[str, Any]) -> tuple[int, Piece]:
        first = min(numbered.count, FIRST_CHUNK)
        piece = Piece(first, (), (), first, 0, first == numbered.count)
        new = NewTraining(
            size=numbered.count,
            uri_template=numbered.uri_template,
            number_offset=numbered.first,
            load_count=numbered.count,
            **common,
        )
        return await storing.create(self._pool, new, piece), piece

    async def _store_manifest(self, caller: Identity, uri: str, common: dict[str, Any]) -> tuple[int, Piece]:
        async with self._manifest(caller, uri) as (reader, etag, size):
            chunk = await _first_chunk(reader)
        bytes_each = chunk.offset / len(chunk.rows) if chunk.rows else LIKELY_LINE_BYTES
        expected = len(chunk.rows) if chunk.last else min(int(size / bytes_each), self._limits.manifest_documents)
        piece = Piece(len(chunk.rows), chunk.rows, chunk.line_of, chunk.offset, chunk.lines, chunk.last)
        new = NewTraining(size=expected, manifest_uri=uri, load_etag=etag, load_count=expected, **common)
        return await storing.create(self._pool, new, piece), piece

    @asynccontextmanager
    async def _manifest(self, caller: Identity, uri: str, *, keep_duplicates: bool = False) -> Any:
        try:
            async with (
                self._sources.open_ranged(caller.tenant_id, uri, 0) as opened,
                aclosing(ManifestReader(opened.pieces, self._uris, keep_duplicates=keep_duplicates)) as reader,
            ):
                yield reader, opened.etag, opened.size
        except (BlobNotFoundError, BlobForbiddenError) as error:
            raise invalid("manifest_uri", f"The manifest cannot be read: {error}") from error

    async def _rows(self, caller: Identity, request: pb.StartTrainingRequest) -> list[Row]:
        inline = [document.content for document in request.documents if document.WhichOneof("source") == "content"]
        uris = iter(await self._blobs.put_many(caller.tenant_id, inline))
        return list(_rows(request, uris))


async def _first_chunk(reader: ManifestReader) -> Chunk:
    until = time.monotonic() + FIRST_LINES_SECONDS
    chunk = await reader.next_chunk(FIRST_CHUNK, CHUNK_SECONDS)
    while not chunk.rows and not chunk.last and time.monotonic() < until:
        chunk = await reader.next_chunk(FIRST_CHUNK, CHUNK_SECONDS)
    if not chunk.rows and chunk.last:
        raise invalid("manifest_uri", "The manifest is empty.")
    return chunk


def new_task_id() -> str:
    """An id for a training whose caller chose none."""
    return f"training-{uuid.uuid4().hex}"


async def known_training(pool: Pool, caller: Identity, task_id: str, digest: bytes) -> Accepted | None:
    """The caller's training of that id, if there is one; raises TrainingExistsError when its content is another."""
    async with postgres.acquired(pool, "looking a training up", seconds=READ_SECONDS) as c:
        row = await c.fetchrow(SQL["by_task"], caller.tenant, task_id)
    if row is None:
        return None
    if row["request_hash"] != digest:
        raise TrainingExistsError(
            f"The id {task_id!r} is taken by a training of other documents; choose another id, or give the same documents."
        )
    return Accepted(row["id"], 0, existed=True)


async def check_quota(pool: Pool, caller: Identity) -> None:
    """Raises QuotaExceededError when the caller has as many trainings that have not ended as its plan allows."""
    async with postgres.acquired(pool, "counting trainings", seconds=READ_SECONDS) as c:
        row = await c.fetchrow(SQL["open_trainings"], caller.tenant)
    assert row is not None
    if row["all_used"]:
        raise QuotaExceededError(
            f"The plan {row['plan']} allows {row['most']:,} trainings that have not ended; wait until one ends, or cancel one.",
            metadata={"limit": str(row["most"]), "unit": "trainings"},
        )


def _rows(request: pb.StartTrainingRequest, blobs: Iterator[str]) -> Iterator[Row]:
    for document in request.documents:
        uri = document.uri if document.WhichOneof("source") == "uri" else next(blobs)
        metadata = json.dumps(dict(document.metadata), ensure_ascii=False) if document.metadata else None
        yield document.document_id, uri, document.media_type or None, metadata


def _refuse_duplicates(request: pb.StartTrainingRequest, twice: set[str]) -> None:
    found = Violations()
    for place, document in enumerate(request.documents):
        if document.document_id in twice:
            found.add(f"documents[{place}].document_id", duplicate_id(document.document_id))
    found.raise_any()


def request_hash(request: pb.StartTrainingRequest) -> bytes:
    """The same for requests of the same content: order counts, the order of metadata does not."""
    digest = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)

    add(request.manifest_uri.encode(), request.numbered.uri_template.encode(), bytes([request.retrain]))
    add(str(request.numbered.first).encode(), str(request.numbered.count).encode())
    for document in request.documents:
        content = hashlib.sha256(document.content).digest() if document.WhichOneof("source") == "content" else b""
        add(document.document_id.encode(), document.uri.encode(), content, document.media_type.encode())
        add(json.dumps(sorted(document.metadata.items())).encode())
    return digest.digest()
