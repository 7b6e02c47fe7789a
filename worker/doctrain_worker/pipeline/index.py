"""The stage ``index``: a document's rows replace what was there, if its shard is still held and no newer training came first.

One short transaction: the fence (the shard's row, KEY SHARE, so that a take-back waits for it and a group commit does
not), the document's row, its old chunks away, its new ones by binary COPY. Running it twice leaves one copy.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_mesh import postgres_copy, statements
from doctrain_mesh.embedding import DIMENSIONS
from doctrain_mesh.postgres import Connection, Pool, acquired
from doctrain_mesh.supervise import deadline
from doctrain_worker.pipeline.processor import DocumentTask, NotHeldError, ShardContext
from doctrain_worker.pipeline.readable import Chunk

SQL = statements.load(__package__, "index")
INDEX_SECONDS = 30.0

_VECTOR_BYTES = DIMENSIONS * 2

_CHUNK_COLUMNS = ("tenant", "document_id", "seq", "training", "page", "heading", "start_offset", "end_offset", "text", "embedding")


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
        if await connection.fetchval(SQL["fence"], shard.shard, shard.number, shard.session) is None:
            raise NotHeldError(f"Shard {shard.shard} is no longer held under number {shard.number}.")
        replaced = await connection.fetchval(
            SQL["replace_document"],
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
        await connection.execute(SQL["delete_chunks"], shard.tenant, document.document_id)
        if indexed.chunks:
            await connection.copy_to_table("chunk", source=io.BytesIO(rows), columns=_CHUNK_COLUMNS, format="binary")
    return True


def _chunk_rows(shard: ShardContext, document_id: str, indexed: IndexedDocument) -> bytes:
    """The chunks in the form of a binary COPY."""
    if len(indexed.vectors) != len(indexed.chunks) * _VECTOR_BYTES:
        raise ValueError("There is not one vector for each chunk.")
    tenant, training = postgres_copy.int8(shard.tenant), postgres_copy.int8(shard.training)
    name = postgres_copy.text(document_id)
    rows = [
        postgres_copy.row(
            tenant,
            name,
            postgres_copy.int4(seq),
            training,
            postgres_copy.int4(chunk.page) if chunk.page else postgres_copy.NULL,
            postgres_copy.text(chunk.heading),
            postgres_copy.int4(chunk.start),
            postgres_copy.int4(chunk.end),
            postgres_copy.text(chunk.text),
            postgres_copy.halfvec(indexed.vectors[seq * _VECTOR_BYTES : (seq + 1) * _VECTOR_BYTES]),
        )
        for seq, chunk in enumerate(indexed.chunks)
    ]
    return b"".join([postgres_copy.START, *rows, postgres_copy.END])
