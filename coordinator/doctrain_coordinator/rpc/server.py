"""The gRPC server: every service, what surrounds each call, health and reflection."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from doctrain.v1 import fleet_pb2, fleet_pb2_grpc, search_pb2, search_pb2_grpc, training_pb2, training_pb2_grpc
from doctrain_coordinator.rpc.fleet import FleetService
from doctrain_coordinator.rpc.gates import Gates
from doctrain_coordinator.rpc.interceptors import CallInterceptor
from doctrain_coordinator.rpc.quotas import Quotas
from doctrain_coordinator.rpc.search import SearchService
from doctrain_coordinator.rpc.tracker import TrackerService
from doctrain_coordinator.rpc.training import TrainingService
from doctrain_coordinator.tenants.keys import Keys
from doctrain_mesh import rpc
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings, read_file
from doctrain_mesh.v1 import tracker_pb2, tracker_pb2_grpc

SERVICES = (
    training_pb2.DESCRIPTOR.services_by_name["TrainingService"].full_name,
    search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name,
    fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name,
    tracker_pb2.DESCRIPTOR.services_by_name["TrackerService"].full_name,
)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens, and what its health says."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer
    gates: Gates
    port: int

    async def ready(self) -> None:
        """All services answer."""
        for service in ("", *SERVICES):
            await self.health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def leaving(self) -> None:
        """Load balancers should look elsewhere, and so should whoever calls from now on."""
        self.gates.close()
        await self.health.enter_graceful_shutdown()


def build(
    settings: Settings,
    keys: Keys,
    *,
    training: TrainingService,
    search: SearchService,
    fleet: FleetService,
    tracker: TrackerService,
    within: str,
) -> Served:
    """A server with every service, bound but not started; ``within`` is a further address for this process, without TLS; empty: none.

    Raises ConfigurationError when it cannot listen.
    """
    gates = Gates()
    server = grpc.aio.server(interceptors=[CallInterceptor(keys, gates, Quotas())], options=rpc.server_options(settings.max_request_bytes))
    training_pb2_grpc.add_TrainingServiceServicer_to_server(training, server)
    search_pb2_grpc.add_SearchServiceServicer_to_server(search, server)
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
    tracker_pb2_grpc.add_TrackerServiceServicer_to_server(tracker, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if settings.reflection:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    try:
        if settings.tls_certificate:
            port = server.add_secure_port(settings.listen, grpc.ssl_server_credentials([_pair(settings)]))
        else:
            port = server.add_insecure_port(settings.listen)
        if within:
            server.add_insecure_port(within)
    except RuntimeError as error:
        raise _cannot_listen(settings.listen, str(error)) from error
    return Served(server, healthy, gates, port)


def check(settings: Settings) -> None:
    """Reads the certificate and binds once before gRPC does, which says what is wrong in words for its own developers.

    Raises ConfigurationError.
    """
    if settings.tls_certificate:
        _pair(settings)
    listen = settings.listen
    host, _, port = listen.rpartition(":")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise _cannot_listen(listen, error.strerror or str(error)) from error


def _cannot_listen(listen: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The coordinator cannot listen on {listen} ({why}); another mesh may run there. "
        "Stop it, or choose a free address: --listen for `doctrain dev`, else DOCTRAIN_LISTEN."
    )


def _pair(settings: Settings) -> tuple[bytes, bytes]:
    """The server's key and certificate chain, looked at here: of wrong ones gRPC says that it cannot listen."""
    key, chain = read_file("DOCTRAIN_TLS_KEY", settings.tls_key), read_file("DOCTRAIN_TLS_CERTIFICATE", settings.tls_certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"DOCTRAIN_TLS_CERTIFICATE and DOCTRAIN_TLS_KEY do not hold a certificate and its key, unencrypted, in PEM form ({error})."
        ) from error
    return key, chain
