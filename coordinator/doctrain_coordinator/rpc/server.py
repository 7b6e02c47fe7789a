"""The gRPC server: every service, what surrounds each call, health and reflection."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from doctrain.v1 import fleet_pb2, fleet_pb2_grpc, search_pb2, search_pb2_grpc, training_pb2, training_pb2_grpc
from doctrain_coordinator.certificate import ServerCertificate
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
from doctrain_mesh.postgres import Pool
from doctrain_mesh.settings import Settings
from doctrain_mesh.v1 import tracker_pb2, tracker_pb2_grpc

SERVICES = (
    training_pb2.DESCRIPTOR.services_by_name["TrainingService"].full_name,
    search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name,
    fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name,
    tracker_pb2.DESCRIPTOR.services_by_name["TrackerService"].full_name,
)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens, where tenants and where workers find it, and what its health says."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer
    gates: Gates
    address: str
    address_of_workers: str

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
    certificate: ServerCertificate | None,
    *,
    training: TrainingService,
    search: SearchService,
    fleet: FleetService,
    tracker: TrackerService,
    pool: Pool,
    within: str,
) -> Served:
    """A server with every service, bound but not started; ``within`` is a further address for this process, without TLS; empty: none.

    Raises ConfigurationError when it cannot listen.
    """
    gates = Gates()
    interceptor = CallInterceptor(
        keys, gates, Quotas(), pool, most_documents=settings.max_request_documents, certified_workers=bool(settings.worker_listen)
    )
    server = grpc.aio.server(interceptors=[interceptor], options=rpc.server_options(settings.max_request_bytes))
    training_pb2_grpc.add_TrainingServiceServicer_to_server(training, server)
    search_pb2_grpc.add_SearchServiceServicer_to_server(search, server)
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
    tracker_pb2_grpc.add_TrackerServiceServicer_to_server(tracker, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if settings.reflection:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    address = _bound(server, settings.listen, certificate.credentials() if certificate else None)
    if settings.worker_listen and certificate:
        bound = _bound(server, settings.worker_listen, certificate.credentials(of_workers=True))
        of_workers = settings.advertise or bound
    else:
        address = of_workers = settings.advertise or address
    if within:
        server.add_insecure_port(within)
    return Served(server, healthy, gates, address, of_workers)


def check(settings: Settings) -> None:
    """Binds once before gRPC does, which says what is wrong in words for its own developers. Raises ConfigurationError."""
    for listen in filter(None, (settings.listen, settings.worker_listen)):
        _check(listen)


def _bound(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None) -> str:
    """The address that the server took."""
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise _cannot_listen(listen, str(error)) from error
    return f"{listen.rpartition(':')[0]}:{port}"


def _check(listen: str) -> None:
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
        "Stop it, or choose a free address: --listen for `doctrain dev`, else DOCTRAIN_LISTEN (of workers: DOCTRAIN_WORKER_LISTEN)."
    )
