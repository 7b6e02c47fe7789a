"""The stage ``index``: a document's rows replace what was there, if its shard is still held and no newer training came first.

One short transaction: the fence (the shard's row, KEY SHARE, so that a take-back waits for it and a group commit does
not), the document's row, its old chunks away, its new ones by binary COPY. Running it twice leaves one copy.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_mesh.embedding import DIMENSIONS
from doctrain_mesh.postgres import Connection, Pool, acquired
from doctrain_mesh.supervise import deadline
from doctrain_worker.pipeline.processor import DocumentTask, NotHeldError, ShardContext
from doctrain_worker.pipeline.readable import Chunk

INDEX_SECONDS = 30.0

_VECTOR_BYTES = DIMENSIONS * 2

# State 2 is RUNNING.
_FENCE = "select 1 from shard where id = $1 and number = $2 and holder = $3 and state = 2 for key share"

_REPLACE_DOCUMENT = """
insert into indexed_document (tenant, document_id, training, ordinal, content_hash, media_type, metadata, model, chunk_count, indexed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
on conflict (tenant, document_id) do update
set training = excluded.training, ordinal = excluded.ordinal, content_hash = excluded.content_hash,
    media_type = excluded.media_type, metadata = excluded.metadata, model = excluded.model,
    chunk_count = excluded.chunk_count, indexed_at = excluded.indexed_at
where indexed_document.training <= excluded.training
returning 1
"""

_DELETE_CHUNKS = "delete from chunk where tenant = $1 and document_id = $2"

_CHUNK_COLUMNS = ("tenant", "document_id", "seq", "training", "page", "heading", "start_offset", "end_offset", "text", "embedding")

_COPY_START = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_END = struct.pack(">h", -1)


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """What the pipeline made of a document.

    Args:
        content_hash: SHA-256 of its bytes.
        media_type: what it is.
        model: name of the embedding model.
        chunks: its pieces.
        vectors: of each piece, big-endian half floats, one after the other.
    """

    content_hash: bytes
    media_type: str
    model: str
    chunks: Sequence[Chunk]
    vectors: bytes


async def index(pool: Pool, shard: ShardContext, document: DocumentTask, indexed: IndexedDocument) -> bool:
    """Writes the document; False when a newer training of it stands there. Raises NotHeldError, StoreUnavailableError."""
    async with deadline("writing index rows", INDEX_SECONDS), acquired(pool, "writing index rows") as connection:
        return await replace_document(connection, shard, document, indexed)


async def replace_document(connection: Connection, shard: ShardContext, document: DocumentTask, indexed: IndexedDocument) -> bool:
    """The transaction of ``index``."""
    rows = _chunk_rows(shard, document.document_id, indexed)
    async with connection.transaction():
        if await connection.fetchval(_FENCE, shard.shard, shard.number, shard.session) is None:
            raise NotHeldError(f"Shard {shard.shard} is no longer held under number {shard.number}.")
        replaced = await connection.fetchval(
            _REPLACE_DOCUMENT,
            shard.tenant,
            document.document_id,
            shard.training,
            document.ordinal,
            indexed.content_hash,
            indexed.media_type,
            document.metadata or "{}",
            indexed.model,
            len(indexed.chunks),
        )
        if replaced is None:
            return False
        await connection.execute(_DELETE_CHUNKS, shard.tenant, document.document_id)
        if indexed.chunks:
            await connection.copy_to_table("chunk", source=io.BytesIO(rows), columns=_CHUNK_COLUMNS, format="binary")
    return True


def _chunk_rows(shard: ShardContext, document_id: str, indexed: IndexedDocument) -> bytes:
    """The chunks in the form of a binary COPY."""
    if len(indexed.vectors) != len(indexed.chunks) * _VECTOR_BYTES:
        raise ValueError("There is not one vector for each chunk.")
    tenant = _field(struct.pack(">q", shard.tenant))
    training = _field(struct.pack(">q", shard.training))
    name = _field(document_id.encode())
    parts = [_COPY_START]
    for seq, chunk in enumerate(indexed.chunks):
        vector = indexed.vectors[seq * _VECTOR_BYTES : (seq + 1) * _VECTOR_BYTES]
        parts += (
            struct.pack(">h", len(_CHUNK_COLUMNS)),
            tenant,
            name,
            _int(seq),
            training,
            _int(chunk.page) if chunk.page else _NULL,
            _field(chunk.heading.encode()),
            _int(chunk.start),
            _int(chunk.end),
            _field(chunk.text.encode()),
            _field(struct.pack(">hh", DIMENSIONS, 0) + vector),
        )
    parts.append(_COPY_END)
    return b"".join(parts)


_NULL = struct.pack(">i", -1)


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _int(value: int) -> bytes:
    return struct.pack(">ii", 4, value)
