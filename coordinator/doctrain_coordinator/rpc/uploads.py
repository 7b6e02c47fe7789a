"""Takes an upload's bytes from a client that may fall silent, or send so slowly that it never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator.tenants.identity import Identity
from doctrain_coordinator.tenants.uploads import Uploads
from doctrain_mesh.documents.blobs import StoredBlob
from doctrain_mesh.errors import RequestTooLargeError, UploadStalledError, invalid_field

SILENCE_SECONDS = 60.0
"""Longest wait for a client's next message."""
UPLOAD_SECONDS = 900.0
"""Longest time for a whole upload."""
MOST_CHUNK_BYTES = 2**20
"""Bytes that one message may carry."""


async def store(uploads: Uploads, caller: Identity, requests: AsyncIterator[pb.UploadDocumentRequest], max_bytes: int) -> StoredBlob:
    """Stores what a client sends.

    Raises InvalidRequestError, RequestTooLargeError, UploadStalledError, BlobTooLargeError, and what ``Uploads.put_stream`` does.
    """
    try:
        async with asyncio.timeout(UPLOAD_SECONDS) as limit:
            pieces = _pieces(requests)
            first = await anext(pieces, b"")
            if not first:
                raise invalid_field("chunk", "The document is empty.")
            return await uploads.put_stream(caller, _whole(first, pieces), max_bytes)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise UploadStalledError(f"The upload did not end within {UPLOAD_SECONDS:g} s. Send it again over a faster connection.") from error


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _pieces(requests: AsyncIterator[pb.UploadDocumentRequest]) -> AsyncIterator[bytes]:
    """What comes until the client says that it was all: the messages of a call that breaks off end as those of any other do."""
    whole = False
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                request = await anext(requests)
        except StopAsyncIteration:
            if whole:
                return
            raise invalid_field("last", "The last message of an upload says that it is; without it nothing is stored.") from None
        except TimeoutError as error:
            raise UploadStalledError(f"The upload stopped: nothing came for {SILENCE_SECONDS:g} s. Send it again.") from error
        if len(request.chunk) > MOST_CHUNK_BYTES:
            raise RequestTooLargeError(
                f"A message of an upload has at most {MOST_CHUNK_BYTES:,} bytes; send the document in smaller pieces.",
                metadata={"limit": str(MOST_CHUNK_BYTES), "unit": "bytes"},
            )
        whole = request.last
        if request.chunk:
            yield request.chunk
        await asyncio.sleep(0)
