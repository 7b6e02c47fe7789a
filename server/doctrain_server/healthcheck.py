"""Asks a coordinator whether it serves; for containers and load balancers that run a command."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2

from doctrain import causes, probe
from doctrain_mesh import credentials
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings

ANSWER_SECONDS = 3.0
_CLIENTS_OPTIONS = "--ca, DOCTRAIN_CA"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a coordinator does not serve, in a sentence; not ``certain`` where it may serve others: we lack what it asks for."""

    sentence: str
    certain: bool = True


async def fault(address: str, settings: Settings, *, options: str = "--ca, DOCTRAIN_TLS_CA") -> Fault | None:
    """Why it does not serve; None when ``grpc.health.v1`` says SERVING for the whole server within 3 s.

    ``options``: by what the one who asks names a CA.
    """
    try:
        trusted = credentials.for_coordinators(settings)
    except ConfigurationError as error:
        return Fault(error.sentence)
    async with grpc.aio.secure_channel(address, trusted) if trusted else grpc.aio.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            why = await _why(address, settings.tls_ca, error.details() or "")
            lacks = why == causes.WANTS_CERTIFICATE or (why == causes.NEEDS_TLS and not settings.tls_ca)
            return Fault(f"Does not answer: {why.replace(_CLIENTS_OPTIONS, options)}.", certain=not lacks)
    return None if answer.status == health_pb2.HealthCheckResponse.SERVING else Fault("Does not serve: it starts or drains.")


async def _why(address: str, ca_file: str, details: str) -> str:
    why = causes.in_words(details)
    if why in causes.UNCERTAIN:
        why = await probe.cause(address, tls=bool(ca_file)) or why
    return why
