"""Reads ``https://`` URIs of strangers: connects only to an address that was checked, never to what a name becomes later.

The standard library's HTTP client in threads: the connection is made by us to the address that passed the rules (so a
name that resolves to another address a moment later changes nothing), and each redirect is judged like a new URI.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

from doctrain_mesh.blobs import OPEN_SECONDS, READ_SECONDS, BlobForbiddenError, BlobNotFoundError, BlobTooLargeError, OpenedObject
from doctrain_mesh.errors import BlobUnavailableError
from doctrain_mesh.supervise import deadline
from doctrain_mesh.uris import UriRules

T = TypeVar("T")

_REDIRECTS = 5
_THREADS = 32
_PIECE_BYTES = 1 << 20
_SOCKET_SECONDS = 15.0
_REACHABLE_CHARACTERS = "/%:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class _Opened:
    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse


class Web:
    """Reads from web servers under one deployment's rules. ``close`` ends its threads.

    Args:
        rules: which URIs and addresses may be reached.
        context: TLS with other authorities than the system's, for tests and closed networks.
    """

    def __init__(self, rules: UriRules, context: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._context = context or ssl.create_default_context()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="web")

    def close(self) -> None:
        """Takes no more work; what runs ends at its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, uri: str, max_bytes: int) -> bytes:
        """All bytes. Raises BlobNotFoundError, BlobForbiddenError, BlobTooLargeError, BlobUnavailableError."""
        opened = await self._in_thread("opening a web page", OPEN_SECONDS, self._open, uri, 0)
        try:
            length = opened.response.length
            if length is not None and length > max_bytes:
                raise BlobTooLargeError(max_bytes)
            pieces = []
            left = max_bytes
            while piece := await self._in_thread("reading a web page", READ_SECONDS, opened.response.read1, _PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise BlobTooLargeError(max_bytes)
                pieces.append(piece)
            _check_whole(opened.response)
            return b"".join(pieces)
        finally:
            opened.connection.close()

    @asynccontextmanager
    async def open_ranged(self, uri: str, offset: int) -> AsyncIterator[OpenedObject]:
        """From ``offset`` on; of a server that knows no ranges, what stands before is read and dropped."""
        opened = await self._in_thread("opening a web page", OPEN_SECONDS, self._open, uri, offset)
        try:
            response = opened.response
            begins = offset if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            size = begins + (response.length or 0)
            if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                size = offset
            etag = response.getheader("ETag") or response.getheader("Last-Modified") or f"size-{size}"
            yield OpenedObject(size, etag, self._pieces(response, offset - begins))
        finally:
            opened.connection.close()

    async def _pieces(self, response: http.client.HTTPResponse, skip: int) -> AsyncIterator[bytes]:
        if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        while piece := await self._in_thread("reading a web page", READ_SECONDS, response.read1, _PIECE_BYTES):
            kept = piece[skip:] if skip else piece
            skip = max(0, skip - len(piece))
            if kept:
                yield kept
        _check_whole(response)

    async def _in_thread(self, operation: str, seconds: float, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with deadline(operation, seconds):
                return await loop.run_in_executor(self._threads, functools.partial(function, *arguments))
        except (OSError, http.client.HTTPException) as error:
            what = "its certificate is not valid" if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
            raise BlobUnavailableError(f"The web server could not be read ({what}).", retry_after_seconds=2.0) from error

    def _open(self, uri: str, offset: int) -> _Opened:
        for _ in range(_REDIRECTS + 1):
            reason = self._rules.reason(uri)
            if reason is not None or not uri.startswith(("https://", "http://")):
                raise BlobForbiddenError(reason or "The web server leads away from the web.")
            opened = self._request(uri, offset)
            location = opened.response.getheader("Location")
            if opened.response.status in (301, 302, 303, 307, 308) and location:
                opened.connection.close()
                uri = urljoin(uri, location)
                continue
            try:
                _judge(opened.response)
            except BaseException:
                opened.connection.close()
                raise
            return opened
        raise BlobForbiddenError("The web server redirects again and again.")

    def _request(self, uri: str, offset: int) -> _Opened:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        connection = http.client.HTTPConnection(host, port, timeout=_SOCKET_SECONDS)
        stream = self._connect(host, port)
        try:
            connection.sock = self._context.wrap_socket(stream, server_hostname=host) if secure else stream
        except OSError:
            stream.close()
            raise
        headers = {"User-Agent": "doctrain", "Accept-Encoding": "identity", "Host": parts.netloc}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        target = quote(parts.path or "/", safe=_REACHABLE_CHARACTERS) + (
            f"?{quote(parts.query, safe=_REACHABLE_CHARACTERS)}" if parts.query else ""
        )
        try:
            connection.request("GET", target, headers=headers)
            return _Opened(connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def _connect(self, host: str, port: int) -> socket.socket:
        """To the first of the name's addresses that answers, none of which may be private."""
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            reason = self._rules.address_reason(ipaddress.ip_address(str(target[0]).partition("%")[0]))
            if reason is not None:
                raise BlobForbiddenError(reason)
            stream = socket.socket(family, kind, protocol)
            stream.settimeout(_SOCKET_SECONDS)
            try:
                stream.connect(target)
            except OSError as error:
                stream.close()
                failure = error
            else:
                return stream
        raise failure


def _judge(response: http.client.HTTPResponse) -> None:
    status = response.status
    if status in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise BlobNotFoundError("There is nothing at this URI.")
    if status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        raise BlobUnavailableError(f"The web server answered {status}.", retry_after_seconds=_retry_after(response))
    raise BlobForbiddenError(f"The web server does not give it out; it answered {status}.")


def _check_whole(response: http.client.HTTPResponse) -> None:
    if response.length:
        raise BlobUnavailableError("The web server closed the connection in the middle.", retry_after_seconds=2.0)


def _retry_after(response: http.client.HTTPResponse) -> float:
    told = response.getheader("Retry-After") or ""
    return min(float(told), 300.0) if told.isdecimal() else 2.0
