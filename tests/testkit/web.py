"""A web server that serves bytes by path, with ranges, HEAD, redirects and errors; also enough of S3 to be read from."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What is served; paths begin with a slash.

    Args:
        pages: bytes by path.
        redirects: where to, by path.
        statuses: errors by path, each with the headers that come along.
        ranges: whether ranges are known.
        cut_after: bytes after which an answer breaks off; 0: never.
    """

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int = 0

    def uri(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that went away in the middle."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def site(self) -> Site:
        assert isinstance(self.server, _Server)
        return self.server.site

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in self.site.redirects:
            self._answer(302, b"", Location=self.site.redirects[path])
        elif path in self.site.statuses:
            status, headers = self.site.statuses[path]
            self._answer(status, b"", **headers)
        elif path in self.site.pages:
            self._page(self.site.pages[path])
        else:
            self._answer(404, b"")

    do_HEAD = do_GET

    def _page(self, content: bytes) -> None:
        asked = self.headers.get("Range") if self.site.ranges else None
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.headers.get("If-Match", etag) != etag:
            self._answer(412, b"")
            return
        facts = {"ETag": etag, "Last-Modified": "Tue, 24 Nov 2026 10:00:00 GMT", "Accept-Ranges": "bytes"}
        if asked is None:
            self._answer(200, content, **facts)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
        if start >= len(content):
            self._answer(416, b"", **facts)
        else:
            self._answer(206, content[start : end + 1], **facts, **{"Content-Range": f"bytes {start}-{end}/{len(content)}"})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.site.cut_after
        self.wfile.write(content[:cut] if cut else content)
        self.close_connection = bool(cut)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def serve() -> Iterator[Site]:
    """A site on a free port of this machine."""
    site = Site()
    server = _Server(site)
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
