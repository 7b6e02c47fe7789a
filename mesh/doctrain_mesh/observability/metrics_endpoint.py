"""Where Prometheus reads a process's metrics: ``GET /metrics`` over HTTP, in threads beside the event loop.

Whoever asks can do the process no harm: a few are answered at once, who has not asked yet gives its place to who comes, each has seconds
in all, and what goes wrong with one is told in the log at DEBUG. It tells of all tenants and asks for no key, so it belongs on a closed
network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry import metrics as api

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.observability import metrics

log = logging.getLogger(__name__)
PATH = "/metrics"
MOST_AT_ONCE = 4
SILENCE_SECONDS = 5.0
"""Longest wait for a client's next bytes."""
ANSWER_SECONDS = 15.0
"""Longest time for a request and its answer."""


@asynccontextmanager
async def serving(listen: str, *, service: str, instance: str) -> AsyncIterator[str]:
    """Measures and serves at ``listen`` (HOST:PORT) while open; the URL, empty for no address, where nothing is measured.

    Once a process. Raises ConfigurationError when it cannot listen there.
    """
    if not listen:
        yield ""
        return
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    server = _listening(listen, lambda: generate_latest(registry))
    try:
        ProcessCollector(registry=registry)
        reader = PrometheusMetricReader(registry=registry, scope_info_enabled=False)
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        api.set_meter_provider(provider)
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        thread.start()
        url = f"http://{listen.rpartition(':')[0]}:{server.server_address[1]}{PATH}"
        log.info("Metrics are served at %s.", url)
        async with asyncio.TaskGroup() as loops:
            sampling = loops.create_task(metrics.sampling(), name="metrics")
            try:
                yield url
            finally:
                sampling.cancel()
                await asyncio.to_thread(server.shutdown)
                provider.shutdown()
    finally:
        server.server_close()


def _listening(listen: str, exposition: Callable[[], bytes]) -> _Server:
    host, _, port = listen.rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _Server(family, address, exposition)
    except OSError as error:
        raise ConfigurationError(
            f"Metrics cannot be served on {listen} ({error.strerror or error}); another process may serve its own there. "
            "Choose a free address for each process with DOCTRAIN_METRICS_LISTEN, or leave it empty."
        ) from error


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each of the few that are answered at once."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: Any, exposition: Callable[[], bytes]) -> None:
        self.address_family = family
        self.exposition = exposition
        self._lock = threading.Lock()
        self._held: dict[socket.socket, bool] = {}
        """The connections in the order in which they came, and whether they have asked."""
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._admits(request):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._leaves(request)
            raise

    def _admits(self, connection: socket.socket) -> bool:
        with self._lock:
            if len(self._held) >= MOST_AT_ONCE:
                silent = next((one for one, asked in self._held.items() if not asked), None)
                if silent is None:
                    return False
                del self._held[silent]
                _hang_up(silent)
            self._held[connection] = False
            return True

    def _leaves(self, connection: socket.socket) -> None:
        with self._lock:
            self._held.pop(connection, None)

    def asks(self, connection: socket.socket) -> None:
        """Notes that it has sent its request and keeps its place."""
        with self._lock:
            if connection in self._held:
                self._held[connection] = True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        limit = threading.Timer(ANSWER_SECONDS, _hang_up, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._leaves(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("A request for metrics was not answered.", exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    """Ends whatever its thread waits for."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection. Every method but GET is refused by the base class."""

    server: _Server
    timeout = SILENCE_SECONDS
    server_version = "doctrain"
    sys_version = ""

    def do_GET(self) -> None:
        self.server.asks(self.connection)
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"Metrics are at {PATH}.")
            return
        from prometheus_client import CONTENT_TYPE_LATEST

        body = self.server.exposition()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)
