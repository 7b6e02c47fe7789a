"""Trainings whose documents did not come all at once: which there are, who has one in hand, and what is left of its documents."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.trainings import chunks, failed_documents
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.failed_documents import Failed
from doctrain_coordinator.trainings.manifests import ManifestReader
from doctrain_mesh import postgres
from doctrain_mesh.documents.errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.postgres import OwnConnection, statements

SQL = statements.of(__name__, AdvisoryLock, TrainingState)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A training that is loaded on, and where: the columns of its row (``store/schema.sql``) that say so.

    ``training_documents``: the most that its tenant's plan allows; 0: no limit.
    """

    id: int
    tenant: int
    tenant_id: str
    loaded: int
    load_offset: int
    load_lines: int
    load_etag: str | None
    load_count: int | None
    manifest_uri: str | None
    load_source: int | None
    load_classes: Sequence[int]
    training_documents: int


async def waiting(c: OwnConnection, but: Sequence[int]) -> list[tuple[int, int]]:
    """(training, tenant) of all but some, each tenant's oldest. Raises StoreUnavailableError."""
    async with postgres.available("looking for trainings to load", c):
        return [(row["id"], row["tenant"]) for row in await c.fetch(SQL["unsealed"], but)]


async def claim(c: OwnConnection, training: int) -> Unfinished | None:
    """Takes it in hand for as long as the connection lives; None when it is in another's, or finished. Raises StoreUnavailableError."""
    async with postgres.available("taking up a load", c):
        if not await c.fetchval(SQL["try_load"], training):
            return None
        row = await c.fetchrow(SQL["one_unsealed"], training)
    return Unfinished(**row) if row is not None else None


async def keep_claim(c: OwnConnection) -> None:
    """Shows Postgres that its holder lives. Raises StoreUnavailableError."""
    async with postgres.available("keeping a load's claim", c):
        await c.execute("select 1")


async def silent_seconds(c: OwnConnection, training: int) -> float:
    """How long nothing of it was stored. Raises StoreUnavailableError."""
    async with postgres.available("looking at a load", c):
        return float(await c.fetchval(SQL["silent_seconds"], training) or 0.0)


@contextlib.asynccontextmanager
async def remaining(c: OwnConnection, of: Unfinished, sources: Sources) -> AsyncIterator[AsyncIterator[Chunk | None]]:
    """The chunks that are left of a claimed one; None among them: nothing came for a while. One of blank lines has no documents.

    Raises InvalidRequestError for a manifest that is not what it was, and UnavailableError.
    """
    if of.load_source is not None:
        yield failed_documents.remaining(c, Failed(of.load_source, of.load_classes), of.load_offset)
        return
    if of.manifest_uri is None:
        yield _numbered(of.loaded, of.load_count or 0)
        return
    try:
        async with sources.open_ranged(of.tenant_id, of.manifest_uri, of.load_offset) as opened:
            if opened.etag != of.load_etag:
                raise InvalidRequestError("The manifest was changed while it was being read; start a training of the new one.")
            reader = ManifestReader(opened.pieces, sources.rules, offset=of.load_offset, lines=of.load_lines)
            async with contextlib.aclosing(reader):
                yield _of_manifest(reader, of.load_offset)
    except (BlobNotFoundError, BlobForbiddenError) as error:
        raise InvalidRequestError(f"The manifest can no longer be read: {error}") from error


async def _numbered(loaded: int, count: int) -> AsyncIterator[Chunk]:
    while loaded < count:
        chunk = chunks.numbered(loaded, count, chunks.MOST)
        loaded = chunk.offset
        yield chunk


async def _of_manifest(reader: ManifestReader, offset: int) -> AsyncIterator[Chunk | None]:
    last = False
    while not last:
        chunk = await reader.next_chunk(chunks.MOST, chunks.SECONDS)
        last = chunk.last
        yield chunk if chunk.offset > offset or last else None
        offset = chunk.offset
