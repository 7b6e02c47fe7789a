"""Reads ``https://`` URIs of strangers: connects only to an address that was checked, never to what a name becomes later.

A name is resolved once, all its addresses must pass the rules, and the connection is made to one of them by number (so a
name that resolves to another address a moment later changes nothing). Each redirect is judged like a new URI. A server
that says nothing costs a socket and no thread; giving it up closes the socket at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import http
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore2

from doctrain_mesh.documents.blobs import OpenedObject
from doctrain_mesh.documents.errors import BlobForbiddenError, BlobNotFoundError
from doctrain_mesh.documents.object_store import OPEN_SECONDS, READ_SECONDS
from doctrain_mesh.errors import BlobUnavailableError
from doctrain_mesh.network.http_answers import header, retry_after_seconds
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.supervise import deadline

_REDIRECTS = 5
_LONGEST_TAG = 200
_LOOKUPS = 64
"""Names that are looked up at once, each in a thread: a resolver gives up by itself, and cannot be stopped before."""
_TIMEOUTS = {"connect": 6.0, "read": 15.0, "write": 15.0, "pool": 15.0}
_REACHABLE_CHARACTERS = "/%:=&?~#+!$,;'@()*[]"
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not valid"),
    (socket.gaierror, "no name server answered"),
)
_FAILURES = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


class Web:
    """Reads from web servers under one deployment's rules. ``close`` ends its threads.

    Args:
        rules: which URIs and addresses may be reached.
        context: TLS with other authorities than the system's, for tests and closed networks.
    """

    def __init__(self, rules: UriRules, context: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._context = context or ssl.create_default_context()
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")

    def close(self) -> None:
        """Takes no more work; what runs ends at its own time limit."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def open_ranged(self, uri: str, offset: int) -> AsyncIterator[OpenedObject]:
        """From ``offset`` on; of a server that knows no ranges, what stands before is read and dropped.

        The size is 0 where the server does not tell it. Raises BlobNotFoundError, BlobForbiddenError, BlobUnavailableError.
        """
        async with AsyncExitStack() as stack:
            async with _reached("opening a web page", OPEN_SECONDS):
                response = await self._open(stack, uri, offset)
            begins = offset if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            beyond = response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            size = offset if beyond else begins + _length(response)
            etag = _tag(header(response.headers, b"etag") or header(response.headers, b"last-modified") or f"size-{size}")
            yield OpenedObject(size, etag, _pieces(response, offset - begins))

    async def _open(self, stack: AsyncExitStack, uri: str, offset: int) -> httpcore2.Response:
        for _ in range(_REDIRECTS + 1):
            reason = self._rules.reason(uri)
            if reason is not None or not uri.startswith(("https://", "http://")):
                raise BlobForbiddenError(reason or "The web server leads away from the web.")
            response = await self._request(stack, uri, offset)
            location = header(response.headers, b"location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                _judge(response)
                return response
            await stack.aclose()
            try:
                uri = urljoin(uri, location)
            except ValueError:
                raise BlobForbiddenError("The web server redirects to what is no address.") from None
        raise BlobForbiddenError("The web server redirects again and again.")

    async def _request(self, stack: AsyncExitStack, uri: str, offset: int) -> httpcore2.Response:
        """Asks over a connection of its own, which ``stack`` closes."""
        parts = urlsplit(uri)
        secure = parts.scheme == "https"
        target = quote(parts.path or "/", safe=_REACHABLE_CHARACTERS) + (
            f"?{quote(parts.query, safe=_REACHABLE_CHARACTERS)}" if parts.query else ""
        )
        url = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port or (443 if secure else 80), target=target)
        headers = [("Host", parts.netloc), ("User-Agent", "doctrain"), ("Accept-Encoding", "identity"), ("Connection", "close")]
        if offset:
            headers.append(("Range", f"bytes={offset}-"))
        checked = _CheckedNetwork(self._rules, self._lookups, stack)
        connection = httpcore2.AsyncHTTPConnection(url.origin, ssl_context=self._context, network_backend=checked)
        return await stack.enter_async_context(connection.stream("GET", url, headers=headers, extensions={"timeout": _TIMEOUTS}))


class _CheckedNetwork(httpcore2.AnyIOBackend):
    """Connects to the first of a name's addresses that answers, none of which may be private."""

    def __init__(self, rules: UriRules, lookups: ThreadPoolExecutor, stack: AsyncExitStack) -> None:
        self._rules, self._lookups, self._stack = rules, lookups, stack

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = OSError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                stream = await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                # Closed by us, since nobody else does when a handshake is cancelled.
                self._stack.push_async_callback(stream.aclose)
                return stream
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, _look_up, host, port)
        except UnicodeError as error:
            raise BlobForbiddenError("The URI has no valid host name.") from error
        except socket.gaierror as error:
            if error.errno == socket.EAI_NONAME:  # the name servers answered: there is no such name
                raise BlobNotFoundError(f"There is no host named {host}.") from error
            raise
        for address in found:
            reason = self._rules.address_reason(ipaddress.ip_address(address.partition("%")[0]))
            if reason is not None:
                raise BlobForbiddenError(reason)
        return found


def _look_up(host: str, port: int) -> list[str]:
    return list(dict.fromkeys(str(target[0]) for *_, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@asynccontextmanager
async def _reached(operation: str, seconds: float) -> AsyncIterator[None]:
    try:
        async with deadline(operation, seconds):
            yield
    except _FAILURES as error:
        what = next((words for kind, words in _CAUSES if _holds(error, kind)), type(error).__name__)
        raise BlobUnavailableError(f"The web server could not be read ({what}).", retry_after_seconds=2.0) from error


def _holds(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None


async def _pieces(response: httpcore2.Response, skip: int) -> AsyncIterator[bytes]:
    if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    stream: Any = response.aiter_stream()
    while True:
        async with _reached("reading a web page", READ_SECONDS):
            try:
                piece: bytes = await anext(stream)
            except StopAsyncIteration:
                return
        kept = piece[skip:] if skip else piece
        skip = max(0, skip - len(piece))
        if kept:
            yield kept


def _judge(response: httpcore2.Response) -> None:
    status = response.status
    if status in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise BlobNotFoundError("There is nothing at this URI.")
    if status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        told = retry_after_seconds(response.headers)
        raise BlobUnavailableError(f"The web server answered {status}.", retry_after_seconds=2.0 if told is None else told)
    raise BlobForbiddenError(f"The web server does not give it out; it answered {status}.")


def _length(response: httpcore2.Response) -> int:
    """What the server says it sends; 0 when it does not say."""
    told = header(response.headers, b"content-length")
    return int(told) if told.isdecimal() and not header(response.headers, b"transfer-encoding") else 0


def _tag(told: str) -> str:
    """The version of an object, whatever its server calls it, as a text that can be stored."""
    return told if told.isprintable() and len(told) <= _LONGEST_TAG else hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
