"""Serves the dashboard: takes its address at the start, and is there from when the services answer until they have drained.

It calls them through a socket in a folder that only this process's user opens: so it needs no certificate of its own coordinator, and
the keys that it passes on leave the machine nowhere but to the browser.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from doctrain_coordinator.certificate import ServerCertificate
from doctrain_coordinator.web import borders, files
from doctrain_coordinator.web.gateway import MOST_BYTES, Gateway
from doctrain_mesh import rpc
from doctrain_mesh.errors import ConfigurationError

log = logging.getLogger(__name__)
http_log = logging.getLogger(f"{__name__}.http")
"""What the server of HTTP says, but not of those who speak no HTTP: anybody may, and it is no fault of ours."""
http_log.addFilter(lambda record: not isinstance(record.exc_info and record.exc_info[1], HttpProcessingError | web.RequestPayloadError))
MOST_CONNECTIONS = 512
"""One more takes the place of the oldest that waits for no answer; where there is none it is closed at once: who floods the dashboard
takes no file from the coordinator."""
IDLE_SECONDS = 10.0
"""Longest time for a TLS handshake, and for a request's headers after the connection was opened or the answer before."""
STOP_SECONDS = 2.0
_CONNECTION: dict[str, Any] = {"access_log": None, "auto_decompress": False, "keepalive_timeout": IDLE_SECONDS, "logger": http_log}


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Where it listens, and where it finds the services; not served yet."""

    listener: socket.socket
    services: str
    tls: ssl.SSLContext | None

    @property
    def url(self) -> str:
        """What a browser opens."""
        host, port = self.listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{shown}:{port}/"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answers browsers while open; the services must answer by then."""
        host = self.listener.getsockname()[0]
        async with grpc.aio.insecure_channel(self.services, options=rpc.CHANNEL_OPTIONS) as channel:
            gateway = Gateway(channel)
            runner = web.AppRunner(
                _application(gateway, host),
                handler_cancellation=True,
                shutdown_timeout=STOP_SECONDS,
            )
            await runner.setup()
            server = await asyncio.get_running_loop().create_server(
                partial(_made, runner, gateway),
                sock=self.listener,
                ssl=self.tls,
                ssl_handshake_timeout=IDLE_SECONDS if self.tls else None,
            )
            try:
                log.info("The dashboard is on %s", self.url)
                yield
            finally:
                server.close()
                await runner.cleanup()


@contextmanager
def opened(listen: str, certificate: ServerCertificate | None) -> Iterator[Dashboard]:
    """Takes its address, without answering yet. Raises ConfigurationError."""
    tls = certificate.context() if certificate else None
    with _listener(listen) as listener, tempfile.TemporaryDirectory(prefix="doctrain-dashboard-") as folder:
        yield Dashboard(listener, f"unix:{Path(folder) / 'services'}", tls)


class _TooMany(asyncio.Protocol):
    """What a connection gets that is one too many: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _made(runner: web.AppRunner, gateway: Gateway) -> asyncio.BaseProtocol:
    """What serves one connection more."""
    served = runner.server
    assert served is not None
    there = [one for one in served.connections if one.transport is not None]
    if len(there) >= MOST_CONNECTIONS:
        idle = next((one for one in there if not gateway.answers(one)), None)
        if idle is None:
            return _TooMany()
        idle.force_close()
    loop = asyncio.get_running_loop()
    return borders.Connection(served, loop=loop, **_CONNECTION)


def _application(gateway: Gateway, host: str) -> web.Application:
    application = web.Application(client_max_size=MOST_BYTES, middlewares=[borders.errors_as_json, borders.only_as_this_machine(host)])
    application.on_response_prepare.append(borders.add_headers)
    application.router.add_post("/api/{service}/{method}", gateway.call)
    for path, file in files.read().items():

        async def answer(request: web.Request, file: files.File = file) -> web.Response:
            return file.response(request)

        application.router.add_get(path, answer)
    return application


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"The dashboard cannot listen on {listen} ({error.strerror or error}). Choose a free address: --dashboard for `doctrain dev`, "
            "else DOCTRAIN_DASHBOARD_LISTEN; an empty one is for no dashboard."
        ) from error
    return listener
