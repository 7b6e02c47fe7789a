"""Sending one document's bytes: from a file, from memory or from a stream.

What can be read again from its beginning (a file, bytes) is sent again when the service was away; a stream is sent once. Nothing
is read before there is a connection, so that an address that is away takes nothing of a stream, and the next one gets it whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import grpc
import grpc.aio

from doctrain import retry
from doctrain.endpoints import Endpoint, Endpoints
from doctrain.errors import InvalidRequestError, RequestTooLargeError, UsageError
from doctrain.files import opened
from doctrain.folder import shown
from doctrain.v1 import training_pb2

CHUNK_BYTES = 512 * 1024
"""Bytes in one message; the service takes 1 MiB at most."""

Result = TypeVar("Result")
Source: TypeAlias = "str | Path | bytes | AsyncIterator[bytes]"


async def upload(endpoints: Endpoints, source: Source, *, seconds: float) -> training_pb2.UploadDocumentResponse:
    """Stores the bytes and returns their ``blob://`` URI, within ``seconds``. Reads a file a piece at a time.

    Raises UsageError for a source of another type.
    """
    if not isinstance(source, str | Path | bytes | AsyncIterable):
        raise UsageError(f"The source is of type {type(source).__name__}; give a path, bytes, or an async iterator of bytes.")

    again = isinstance(source, str | Path | bytes)
    begun = False

    async def attempt(endpoint: Endpoint, remaining_seconds: float) -> training_pb2.UploadDocumentResponse:
        nonlocal begun
        call = endpoint.training.UploadDocument(timeout=remaining_seconds, metadata=endpoints.metadata)
        outcome = _FirstOutcome()
        call.add_done_callback(outcome.remember)
        try:
            await _connected(call)
            begun = True
            await _send(call, _chunks(source))
            return await call
        except grpc.aio.AioRpcError as error:
            raise outcome.error or error from None
        finally:
            call.cancel()

    def lost(error: grpc.aio.AioRpcError) -> bool:
        return retry.gone_away(error) if again else not begun and retry.unsent(error)

    turns, patience = max(retry.ROUNDS, retry.turns(len(endpoints))), retry.PATIENCE_SECONDS
    try:
        return await endpoints.attempts(
            f"store {_name(source)}", attempt, lost=lost, turns=turns, patience_seconds=patience, seconds=seconds, again=again
        )
    except (InvalidRequestError, RequestTooLargeError) as error:
        if not isinstance(source, str | Path):
            raise
        raise type(error)(f"{_name(source)}: {error.sentence}", status=error.status, details=error.details) from error


class _FirstOutcome:
    """What the service answered, kept from being overwritten.

    When the service refuses an upload that is still being written, the write fails too, and gRPC then puts "Internal error
    from Core" in the place of the service's own words, before or after they arrive (seen in half of such uploads with grpcio
    1.85). Whichever comes first is remembered here; after the core's error gRPC itself still reports the service's words.
    """

    def __init__(self) -> None:
        self.error: grpc.aio.AioRpcError | None = None

    def remember(self, call: grpc.aio.Call) -> None:
        """To be called as soon as the call has a status."""
        code, details = _value(call.code()), _value(call.details())
        if self.error is None and code is not grpc.StatusCode.OK and details != "Internal error from Core":
            trailing_metadata = _value(call.trailing_metadata()) or ()
            self.error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing_metadata), details)


def _value(ready: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that has nothing to wait for: an ended call's status is there."""
    try:
        ready.send(None)
    except StopIteration as end:
        value: Result = end.value
        return value
    ready.close()
    raise RuntimeError("An ended call had no status.")


async def _connected(call: grpc.aio.StreamUnaryCall[training_pb2.UploadDocumentRequest, training_pb2.UploadDocumentResponse]) -> None:
    """Returns once there is a connection to write on; raises AioRpcError when the call ends before."""
    try:
        await call.wait_for_connection()
    except grpc.aio.AioRpcError:
        # Of a channel with interceptors, gRPC keeps a task that waits for something to write, even when the call has ended.
        await call.done_writing()
        raise


async def _send(
    call: grpc.aio.StreamUnaryCall[training_pb2.UploadDocumentRequest, training_pb2.UploadDocumentResponse],
    chunks: AsyncGenerator[bytes, None],
) -> None:
    """Writes all chunks, or stops early when the service has answered already; awaiting the call says what."""
    async with contextlib.aclosing(chunks):
        await _write(call, chunks)


async def _write(
    call: grpc.aio.StreamUnaryCall[training_pb2.UploadDocumentRequest, training_pb2.UploadDocumentResponse],
    chunks: AsyncIterator[bytes],
) -> None:
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        async for chunk in chunks:
            await call.write(training_pb2.UploadDocumentRequest(chunk=chunk))
        await call.write(training_pb2.UploadDocumentRequest(last=True))
        await call.done_writing()


async def _chunks(source: Source) -> AsyncGenerator[bytes, None]:
    """Pieces of at most ``CHUNK_BYTES``."""
    async with _pieces(source) as pieces:
        async for piece in pieces:
            for chunk in _slices(piece):
                yield chunk


@contextlib.asynccontextmanager
async def _pieces(source: Source) -> AsyncIterator[AsyncIterator[bytes]]:
    """What the source holds; a caller's own iterator stays the caller's to close."""
    if isinstance(source, str | Path):
        async with contextlib.aclosing(_read(Path(source))) as pieces:
            yield pieces
    elif isinstance(source, bytes):
        yield _whole(source)
    else:
        yield source


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _slices(content: bytes) -> Iterator[bytes]:
    view = memoryview(content)
    for start in range(0, len(content), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


class _Opening:
    """A file that a thread opens, which whoever waits for it may give up: whichever comes last closes it."""

    def __init__(self, path: Path) -> None:
        self._path, self._handing = path, threading.Lock()
        self._file: BinaryIO | None = None
        self._given_up = False

    def open(self) -> BinaryIO:
        """Raises OSError."""
        file = opened(self._path)
        with self._handing:
            self._file = file
            if self._given_up:
                file.close()
        return file

    def give_up(self) -> None:
        with self._handing:
            self._given_up = True
            if self._file is not None:
                self._file.close()


async def _open(path: Path) -> BinaryIO:
    """Opens off the event loop."""
    opening = _Opening(path)
    try:
        return await asyncio.to_thread(opening.open)
    except asyncio.CancelledError:
        opening.give_up()
        raise


async def _read(path: Path) -> AsyncGenerator[bytes, None]:
    """Reads off the event loop, since a disk may be slow."""
    file = await _open(path)
    try:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece
    finally:
        file.close()


def _name(source: Source) -> str:
    return shown(Path(source)) if isinstance(source, str | Path) else "a document"
