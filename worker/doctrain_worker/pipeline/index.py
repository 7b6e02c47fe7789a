"""The stage ``index``: a document's rows replace what was there, if its shard is still held and no newer training (or delete) came first.

One short transaction: the fence (the shard's row, KEY SHARE, so that a take-back waits for it and a group commit does
not), the document's row, its old chunks away, its new ones by binary COPY. Running it twice leaves one copy.

The rows of a large document are copied into a table of the transaction's own before the fence: while they travel, nobody
waits for this worker, who may be slow or frozen, and under the fence Postgres moves them by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum

from doctrain_mesh.postgres import Connection, Pool, acquired, binary_copy, statements
from doctrain_mesh.words import lexeme, words
from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.processor import DocumentTask, NotHeldError, ShardContext


class ShardState(IntEnum):
    """The one of the coordinator's states of a shard in which its holder may write."""

    RUNNING = 2


SQL = statements.of(__name__, ShardState)
INDEX_SECONDS = 30.0
CHUNKS_A_SECOND = 200
"""What a Postgres that is very busy manages, beside the time that every document has."""

STAGED_CHUNKS = 500
"""More chunks than these are copied before the fence."""

_COPIED_BYTES = 1 << 18

_CHUNK_COLUMNS = (
    *("tenant", "document_id", "seq", "training", "part", "page", "heading", "start_offset", "end_offset"),
    *("model", "embedding", "words", "text"),
)


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """What the pipeline made of a document.

    Args:
        content_hash: SHA-256 of its bytes.
        media_type: what it is.
        model: name of the embedding model.
        chunks: its chunks, each with its vector (big-endian half floats): to be gone through once or more, with a length.
        recipe: how it was read and cut; empty where no later training may go by it.
    """

    content_hash: bytes
    media_type: str
    model: str
    chunks: ChunkStore
    recipe: bytes = b""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A document that the index held already; ``unchanged``: by an earlier training, not by this one before its worker was lost."""

    chunks: int
    unchanged: bool


async def index(pool: Pool, shard: ShardContext, document: DocumentTask, indexed: IndexedDocument) -> bool:
    """Writes the document; False when a newer training of it, or its delete, stands there. Raises NotHeldError, StoreUnavailableError."""
    seconds = INDEX_SECONDS + len(indexed.chunks) / CHUNKS_A_SECOND
    async with acquired(pool, "writing index rows", seconds=seconds) as connection:
        return await replace_document(connection, shard, document, indexed)


async def claim(
    pool: Pool, shard: ShardContext, document: DocumentTask, *, content_hash: bytes, recipe: bytes, model: str
) -> Claimed | None:
    """Makes what the index holds of the document this training's.

    None when the index holds none, or one of other bytes, another recipe or another model, or of a newer training.
    Raises NotHeldError, StoreUnavailableError.
    """
    async with acquired(pool, "claiming an unchanged document", seconds=INDEX_SECONDS) as connection, connection.transaction():
        if await connection.fetchval(SQL["fence"], shard.shard, shard.number, shard.session) is None:
            raise NotHeldError(f"Shard {shard.shard} is no longer held under number {shard.number}.")
        row = await connection.fetchrow(
            SQL["claim_document"],
            shard.tenant,
            document.document_id,
            shard.training,
            shard.index_order,
            document.ordinal,
            document.metadata or "{}",
            content_hash,
            recipe,
            model,
        )
    return None if row is None else Claimed(row["chunk_count"], row["unchanged"])


async def is_deleted(pool: Pool, shard: ShardContext, document: DocumentTask) -> bool:
    """Whether it was deleted after its training was started, itself or with its tenant. Raises StoreUnavailableError."""
    async with acquired(pool, "looking for a delete", seconds=INDEX_SECONDS) as connection:
        deleted: bool = await connection.fetchval(SQL["is_deleted"], shard.tenant, document.document_id, shard.index_order)
    return deleted


async def replace_document(connection: Connection, shard: ShardContext, document: DocumentTask, indexed: IndexedDocument) -> bool:
    """The transaction of ``index``."""
    staged = len(indexed.chunks) > STAGED_CHUNKS
    async with connection.transaction():
        if staged:
            await connection.execute(SQL["stage_chunks"])
            await _copy(connection, "staged_chunk", shard, document, indexed)
        if await connection.fetchval(SQL["fence"], shard.shard, shard.number, shard.session) is None:
            raise NotHeldError(f"Shard {shard.shard} is no longer held under number {shard.number}.")
        replaced = await connection.fetchval(
            SQL["replace_document"],
            shard.tenant,
            document.document_id,
            shard.training,
            shard.index_order,
            document.ordinal,
            indexed.content_hash,
            indexed.media_type,
            document.metadata or "{}",
            indexed.model,
            len(indexed.chunks),
            indexed.recipe,
        )
        if replaced is None:
            return False
        await connection.execute(SQL["delete_chunks"], shard.tenant, document.document_id)
        if staged:
            await connection.execute(SQL["take_staged_chunks"])
        elif indexed.chunks:
            await _copy(connection, "chunk", shard, document, indexed)
    return True


async def _copy(connection: Connection, table: str, shard: ShardContext, document: DocumentTask, indexed: IndexedDocument) -> None:
    rows = _rows(shard, document.document_id, indexed)
    await connection.copy_to_table(table, source=rows, columns=_CHUNK_COLUMNS, format="binary")


async def _rows(shard: ShardContext, document_id: str, indexed: IndexedDocument) -> AsyncIterator[bytes]:
    """The chunks in the form of a binary COPY, a quarter of a megabyte at a time."""
    tenant, training = binary_copy.int8(shard.tenant), binary_copy.int8(shard.training)
    name, model = binary_copy.text(document_id), binary_copy.text(indexed.model)
    ready = bytearray(binary_copy.START)
    for seq, (chunk, vector) in enumerate(indexed.chunks):
        ready += binary_copy.row(
            tenant,
            name,
            binary_copy.int4(seq),
            training,
            binary_copy.text(chunk.part),
            binary_copy.int4(chunk.page) if chunk.page else binary_copy.NULL,
            binary_copy.text(chunk.heading),
            binary_copy.int4(chunk.start),
            binary_copy.int4(chunk.end),
            model,
            binary_copy.halfvec(vector),
            _words(shard.tenant, chunk.heading, chunk.text),
            binary_copy.text(chunk.text),
        )
        if len(ready) > _COPIED_BYTES:
            yield bytes(ready)
            ready.clear()
        await asyncio.sleep(0)  # the words of a chunk take a while, and the worker's heartbeats go out on this loop, too
    yield bytes(ready + binary_copy.END)


def _words(tenant: int, heading: str, text: str) -> bytes:
    """The words of the text, and beside them those of its headings alone, which say less of it."""
    own = words(text)
    above = words(heading) - own
    return binary_copy.tsvector((lexeme(tenant, word) for word in own), (lexeme(tenant, word) for word in above))
