"""The certificate that a coordinator serves with. Its files are read again when they change: connections from then on meet the new one."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from doctrain_mesh import credentials
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings, read_file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Read:
    """What the files held when they were looked at."""

    key: bytes
    chain: bytes
    worker_ca: bytes
    context: ssl.SSLContext

    def configuration(self, *, of_workers: bool) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.worker_ca if of_workers else None)


class ServerCertificate:
    """The one that the settings name, and the CA of workers' certificates beside it. Handshakes of any thread may ask for it.

    Raises ConfigurationError for files that hold none. Later such files are told in the log, and the certificate before them stays.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._read = _read(settings)

    def credentials(self, *, of_workers: bool = False) -> grpc.ServerCredentials:
        """For a port of gRPC; with ``of_workers`` one that lets nobody in who shows no certificate of the workers' CA."""
        changes = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changes(of_workers))  # the stubs know no None
        first = self._read.configuration(of_workers=of_workers)
        return grpc.dynamic_ssl_server_credentials(first, changes, require_client_authentication=of_workers)

    def context(self) -> ssl.SSLContext:
        """For servers that are not gRPC's; each of their connections gets the certificate of its time."""
        entry = credentials.own_context(self._settings)

        def choose(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._now().context

        entry.sni_callback = choose
        return entry

    def _changes(self, of_workers: bool) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """What gRPC asks at each handshake: None while all is as it was."""
        given = self._read

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            now = self._now()
            if now is given:
                return None
            given = now
            return now.configuration(of_workers=of_workers)

        return changed

    def _now(self) -> _Read:
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps  # taken before the files are read: what changes meanwhile is seen at the next handshake
                try:
                    self._read = _read(self._settings)
                    log.info("The certificate was read again; connections from now on get it.")
                except ConfigurationError as error:
                    log.warning("The certificate that changed is not served yet; the one before it is. %s", error.sentence)
            return self._read

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [
            _stamp(Path(file)) for file in (self._settings.tls_certificate, self._settings.tls_key, self._settings.tls_worker_ca) if file
        ]


def opened(settings: Settings) -> ServerCertificate | None:
    """None where no TLS is wanted. Raises ConfigurationError."""
    return ServerCertificate(settings) if settings.tls_certificate else None


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(settings: Settings) -> _Read:
    key, chain = credentials.own_pair(settings)
    worker_ca = read_file("DOCTRAIN_TLS_WORKER_CA", settings.tls_worker_ca) if settings.tls_worker_ca else b""
    context = credentials.own_context(settings)
    if worker_ca:
        _check_authority(worker_ca)
    return _Read(key, chain, worker_ca, context)


def _check_authority(pem: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"DOCTRAIN_TLS_WORKER_CA does not hold certificates in PEM form ({error}).") from error
