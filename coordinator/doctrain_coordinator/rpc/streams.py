"""What a handler sees of a call: decoded requests, and writes that do not wait for ever for a client that reads nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
from google.protobuf.message import Message

from doctrain_coordinator.rpc import wire
from doctrain_coordinator.rpc.places import Heard, Place
from doctrain_mesh.errors import InvalidRequestError, RequestTooLargeError

STALL_SECONDS = 30.0


class StalledError(Exception):
    """The client reads nothing. It cannot be told: a status waits behind what it does not read."""


FEW_FIELDS = 100
"""So many are counted in no time."""


class Decoder:
    """Reads a method's requests; None stands for one that takes bytes as they are.

    What is larger than ``most_bytes``, or has more than ``most_fields``, is refused before it is decoded. Of fields that the method does
    not know, or that came again, nothing is kept: a call would keep it for as long as it lasts.
    """

    def __init__(self, decode: Callable[[bytes], Any] | None, most_bytes: int | None = None, most_fields: int | None = None) -> None:
        self._decode, self._most, self._most_fields = decode, most_bytes, most_fields

    def check(self, size: int) -> None:
        """Raises RequestTooLargeError for more bytes than the method's requests have."""
        if self._most is not None and size > self._most:
            raise RequestTooLargeError(
                f"A message of this method has at most {self._most:,} bytes, and this one {size:,}; send less.",
                metadata={"limit": str(self._most), "unit": "bytes"},
            )

    async def read(self, data: bytes) -> Any:
        """As ``message``, but in a thread where many fields have to be counted: others should not wait for that."""
        aside = self._most_fields is not None and self._most_fields > FEW_FIELDS and self._may_be_many(data)
        return await asyncio.to_thread(self.message, data) if aside else self.message(data)

    def message(self, data: bytes) -> Any:
        """The request; raises InvalidRequestError for what is none, RequestTooLargeError for what is too large."""
        self.check(len(data))
        if self._decode is None:
            return data
        try:
            if self._most_fields is not None and self._may_be_many(data):
                _check_fields(data, self._decode(b""), self._most_fields)
            message = self._decode(data)
            return _alone(message, len(data)) if isinstance(message, Message) else message
        except RequestTooLargeError:
            raise
        except Exception as error:  # protobuf's implementations do not share one class for it
            raise InvalidRequestError("The request is not a message of this method; was it made from other protos?") from error

    async def stream(self, requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """The requests of a client's stream, one after the other."""
        async for data in requests:
            yield await self.read(data)

    def _may_be_many(self, data: bytes) -> bool:
        """Whether that can be too many fields. Each has two bytes, and to count them takes longer than to decode them."""
        return self._most_fields is not None and len(data) > 2 * self._most_fields


def _check_fields(data: bytes, kind: Message, most: int) -> None:
    """Raises RequestTooLargeError for a message of that kind that has more fields."""
    if wire.count(data, kind, most) > most:
        raise RequestTooLargeError(
            f"A message of this method has at most {most:,} fields, and this one more; send less at once: documents in a manifest, "
            "anything else in several calls.",
            metadata={"limit": str(most), "unit": "fields"},
        )


def _alone(message: Message, size: int) -> Message:
    """The message without what it does not know; protobuf keeps the memory of all that was decoded, so of ``size`` bytes."""
    message.DiscardUnknownFields()
    if message.ByteSize() > size // 2:
        return message
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


class StreamContext:
    """A servicer's context of a stream, around gRPC's own, which it passes everything else on to.

    ``ended_here``: the handler is cancelled by this side, not by the client or for a connection that broke.
    """

    def __init__(self, context: Any, decoder: Decoder) -> None:
        self._context, self._decoder = context, decoder
        self.ended_here = False
        self.place_of_first: AbstractAsyncContextManager[Place] | None = None
        """Within which the first request is read."""

    async def read(self) -> Any:
        """The next request, or ``grpc.aio.EOF``."""
        if self.place_of_first is None:
            data = await self._context.read()
        else:
            place_of_first, self.place_of_first = self.place_of_first, None
            async with place_of_first as place:
                data = await anext(Heard(place, self._messages()), grpc.aio.EOF)
        return data if data is grpc.aio.EOF else await self._decoder.read(data)

    async def _messages(self) -> AsyncIterator[bytes]:
        while (data := await self._context.read()) is not grpc.aio.EOF:
            yield data

    async def write(self, response: Any) -> None:
        """Sends one response; raises StalledError when the client takes nothing for ``STALL_SECONDS``."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._context.write(response)
        except TimeoutError as error:
            raise StalledError(f"read nothing for {STALL_SECONDS:g} s") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
