"""Asks a coordinator whether it serves; for containers and load balancers that run a command."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2

from doctrain import causes, probe
from doctrain_mesh import credentials
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings

ANSWER_SECONDS = 3.0


async def fault(address: str, settings: Settings) -> str | None:
    """Why it does not serve, in a sentence; None when ``grpc.health.v1`` says SERVING for the whole server within 3 s."""
    try:
        trusted = credentials.for_coordinators(settings)
    except ConfigurationError as error:
        return error.sentence
    async with grpc.aio.secure_channel(address, trusted) if trusted else grpc.aio.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"Does not answer: {await _why(address, settings.tls_ca, error.details() or '')}."
    return None if answer.status == health_pb2.HealthCheckResponse.SERVING else "Does not serve: it starts or drains."


async def _why(address: str, ca_file: str, details: str) -> str:
    why = causes.in_words(details)
    if why in causes.UNCERTAIN:
        why = await probe.cause(address, tls=bool(ca_file)) or why
    return why.replace("DOCTRAIN_CA", "DOCTRAIN_TLS_CA")  # the variable of services
