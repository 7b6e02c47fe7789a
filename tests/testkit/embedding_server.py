"""An endpoint of embeddings that speaks OpenAI's protocol, on a thread of its own, and fails as it is told to."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSIONS = 12


@dataclass(frozen=True)
class Fault:
    """How one request is answered in place of well.

    Args:
        status: of the answer.
        headers: beside the usual ones.
        body: in place of vectors.
        hang: send nothing, until the server ends.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hang: bool = False


@dataclass
class EmbeddingServer:
    """What it got, and how it is to answer.

    Args:
        faults: for the next requests, one each.
        requests: the bodies of those that came, in their order.
        keys: their ``Authorization`` headers.
        dimensions: of its vectors.
    """

    port: int = 0
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    dimensions: int = DIMENSIONS
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class _Server(ThreadingHTTPServer):
    def __init__(self, told: EmbeddingServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told = told

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that went away in the middle."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        told = self.server.told
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told.requests.append(body)
        told.keys.append(self.headers.get("Authorization"))
        fault = told.faults.popleft() if told.faults else Fault()
        if fault.hang:
            told.ended.wait()
            self.close_connection = True
            return
        if self.path != "/v1/embeddings" or "" in body["input"]:
            fault = Fault(404 if self.path != "/v1/embeddings" else 400, body=b"{}")
        content = fault.body if fault.body is not None else _vectors(body["input"], told.dimensions)
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _vectors(texts: list[str], dimensions: int) -> bytes:
    """A vector for each text, the last first, as the protocol allows."""
    data = [{"object": "embedding", "index": at, "embedding": _vector(text, dimensions)} for at, text in enumerate(texts)]
    return json.dumps({"object": "list", "data": data[::-1], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()


def _vector(text: str, dimensions: int) -> list[float]:
    return [byte / 16 - 8.03 for byte in hashlib.shake_128(text.encode()).digest(dimensions)]


@contextmanager
def serve() -> Iterator[EmbeddingServer]:
    """An endpoint on a free port of this machine."""
    told = EmbeddingServer()
    server = _Server(told)
    told.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        told.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
