"""Sending one document's bytes: from a file, from memory or from a stream.

What can be read again from its beginning (a file, bytes) is sent again when the service was away; a stream is sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import grpc.aio

from doctrain import retry
from doctrain.endpoints import Endpoint, Endpoints
from doctrain.v1 import training_pb2

CHUNK_BYTES = 512 * 1024
"""Bytes in one message; the service takes 1 MiB at most."""

Source: TypeAlias = "str | Path | bytes | AsyncIterator[bytes]"


async def upload(endpoints: Endpoints, source: Source, *, seconds: float) -> training_pb2.UploadDocumentResponse:
    """Stores the bytes and returns their ``blob://`` URI, within ``seconds``. Reads a file a piece at a time."""

    async def attempt(endpoint: Endpoint, remaining_seconds: float) -> training_pb2.UploadDocumentResponse:
        call = endpoint.training.UploadDocument(timeout=remaining_seconds, metadata=endpoints.metadata)
        try:
            await _send(call, _chunks(source))
            return await call
        finally:
            call.cancel()

    repeatable = isinstance(source, str | Path | bytes)
    turns = max(retry.ROUNDS, retry.turns(len(endpoints))) if repeatable else 1
    return await endpoints.attempts(f"store {_name(source)}", attempt, turns=turns, seconds=seconds)


async def _send(
    call: grpc.aio.StreamUnaryCall[training_pb2.UploadDocumentRequest, training_pb2.UploadDocumentResponse],
    chunks: AsyncIterator[bytes],
) -> None:
    """Writes all chunks, or stops early when the service has answered already; the answer says why."""
    try:
        async for chunk in chunks:
            await call.write(training_pb2.UploadDocumentRequest(chunk=chunk))
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        if not call.done():
            raise


async def _chunks(source: Source) -> AsyncIterator[bytes]:
    """Pieces of at most ``CHUNK_BYTES``; one empty piece when there is nothing, so that the service says so."""
    empty = True
    if isinstance(source, bytes):
        pieces = _slices(source)
    elif isinstance(source, str | Path):
        pieces = _read(Path(source))
    else:
        pieces = source
    async for piece in pieces:
        async for chunk in _slices(piece):
            empty = False
            yield chunk
    if empty:
        yield b""


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    view = memoryview(content)
    for start in range(0, len(content), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


async def _read(path: Path) -> AsyncIterator[bytes]:
    """Reads off the event loop, since a disk may be slow."""
    file: BinaryIO = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece
    finally:
        file.close()


def _name(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "a document"
