"""``POST /api/SERVICE/METHOD``: a JSON request becomes the gRPC call of that name, made with the caller's own key.

It has no rules of its own. Who may call what, what a tenant sees, limits and sentences are those of the services, which it calls over
gRPC as every client does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from http import HTTPStatus
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message

from doctrain_coordinator.tenants.keys import shown_key
from doctrain_coordinator.web import answers
from doctrain_coordinator.web.methods import METHODS, Method
from doctrain_mesh.errors import (
    InvalidRequestError,
    QuotaExceededError,
    RequestTooLargeError,
    UnauthenticatedError,
    UploadStalledError,
)

log = logging.getLogger(__name__)
MOST_BYTES = 2**16
"""The largest body of a request: what the page asks is small, and it is read before anybody looks at the key."""
LARGE_BYTES = 2**13
"""A body from that size on is parsed in a thread."""
LARGE_AT_ONCE = 2
MOST_VALUES = 5_000
"""Of a large body, by its commas and braces, those in its texts too: to parse more takes long."""
BODY_SECONDS = 10.0
"""Longest time for a body to arrive."""
CALLS_OF_KEY = 64
"""Of one key at once, watches included: each keeps its connection, of which there are few for all (``dashboard.MOST_CONNECTIONS``)."""
RETRY_SECONDS = 1.0
CALL_SECONDS = 30.0
WRITE_SECONDS = 30.0
"""Longest time for a client to take what a stream tells it."""
_FORWARDED = ("authorization", "doctrain-tenant", "traceparent")
_PRINTABLE = re.compile(r"[ -~]{1,4096}")


class Gateway:
    """Makes the calls over ``channel``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._answered: set[web.RequestHandler] = set()
        self._under_way = Counter[bytes]()
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def answers(self, connection: web.RequestHandler) -> bool:
        """Whether a call of it is under way, whose request is here as a whole."""
        return connection in self._answered

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answers one call, or the lines of a stream: an object each, the last one ``{"error": …}`` where it ended in one."""
        method = METHODS.get((request.match_info["service"], request.match_info["method"]))
        if method is None:
            unknown = InvalidRequestError("There is no such call here; the services and their calls are those of protos/doctrain/v1.")
            return answers.refusal(unknown, HTTPStatus.NOT_FOUND)
        metadata = _metadata(request)
        body = await _body(request)
        with self._share(dict(metadata).get("authorization", "")):
            message = await self._read(method, body)
            self._answered.add(request.protocol)
            try:
                return await (self._stream if method.streams else self._unary)(request, method, message, metadata)
            finally:
                self._answered.discard(request.protocol)

    async def _read(self, method: Method, body: bytes) -> Message:
        if len(body) < LARGE_BYTES:
            return _parsed(method, body)
        if body.count(b",") + body.count(b"{") > MOST_VALUES:
            raise RequestTooLargeError(
                f"A request may have at most {MOST_VALUES:,} values here; larger ones go over gRPC.",
                metadata={"limit": str(MOST_VALUES), "unit": "values"},
            )
        async with self._large:
            return await asyncio.to_thread(_parsed, method, body)

    @contextmanager
    def _share(self, authorization: str) -> Iterator[None]:
        """Open while a call of that key is under way; raises QuotaExceededError where so many are. Calls without a key share one share."""
        key = hashlib.sha256(shown_key(authorization).encode()).digest()
        if self._under_way[key] >= CALLS_OF_KEY:
            raise QuotaExceededError(
                f"{CALLS_OF_KEY:,} calls of this key are under way here; end some of its watches (close pages), or call over gRPC.",
                metadata={"limit": str(CALLS_OF_KEY), "unit": "calls"},
                retry_after_seconds=RETRY_SECONDS,
            )
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]

    async def _unary(self, _: web.Request, method: Method, message: Message, metadata: list[tuple[str, str]]) -> web.StreamResponse:
        call = self._channel.unary_unary(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=method.response.FromString
        )
        response = await call(message, metadata=metadata, timeout=CALL_SECONDS)
        return web.Response(body=await answers.encoded(response), content_type="application/json")

    async def _stream(self, request: web.Request, method: Method, message: Message, metadata: list[tuple[str, str]]) -> web.StreamResponse:
        call = self._channel.unary_stream(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=method.response.FromString
        )(message, metadata=metadata)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            async with aclosing(_lines(call)) as lines:
                async for line in lines:
                    if not response.prepared:
                        await response.prepare(request)
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(line)
        except (ConnectionError, TimeoutError):
            log.info("A browser takes nothing more of %s and is cut off.", method.path)
            if request.transport is not None:
                request.transport.abort()
        finally:
            call.cancel()
        return response


async def _lines(call: Any) -> AsyncGenerator[bytes, None]:
    """Its messages, then its error, which before the first message is raised: it is then the status of the answer."""
    began = False
    try:
        async for message in call:
            began = True
            yield await answers.encoded(message) + b"\n"
    except grpc.aio.AioRpcError as error:
        if not began:
            raise
        yield answers.failure_line(error)


def _metadata(request: web.Request) -> list[tuple[str, str]]:
    """The headers that a call carries on; gRPC takes printable ASCII alone."""
    found = [(name, request.headers[name].strip()) for name in _FORWARDED if name in request.headers]
    if not all(_PRINTABLE.fullmatch(value) for _, value in found):
        raise UnauthenticatedError("The key or the tenant holds characters that none has; send them as they were given to you.")
    return found


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":  # which no page of another origin may send unasked
        raise InvalidRequestError("The request must be JSON; send it with Content-Type: application/json.")
    if "Content-Encoding" in request.headers:
        raise InvalidRequestError("The request must be JSON as it is; send it without Content-Encoding.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestTooLargeError(
            f"A request may have at most {MOST_BYTES:,} bytes here; larger ones go over gRPC.",
            metadata={"limit": str(MOST_BYTES), "unit": "bytes"},
        ) from error
    except web.RequestPayloadError as error:
        raise InvalidRequestError("The request's body is not what its headers say; send it with its Content-Length.") from error
    except TimeoutError as error:
        raise UploadStalledError(f"The request did not arrive within {BODY_SECONDS:g} s. Send it again.") from error


def _parsed(method: Method, body: bytes) -> Message:
    """The body as the method's request. Raises InvalidRequestError, in words of ours: the library's are for its own programmers."""
    try:
        text = (body or b"{}").decode()
        if not text.lstrip().startswith("{"):  # an empty list would pass for an empty request
            raise json_format.ParseError("It is no object.")
        return json_format.Parse(text, method.request())
    except (json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        name = method.request.DESCRIPTOR.name
        raise InvalidRequestError(f"The body is not the JSON of a {name}; send an object that has its fields, each of its type.") from error
