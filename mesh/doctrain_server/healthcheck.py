"""Asks a coordinator whether it serves; for containers and load balancers that run a command."""

from __future__ import annotations

from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

ANSWER_SECONDS = 3.0


async def serves(address: str, ca_file: str) -> bool:
    """True when ``grpc.health.v1`` says SERVING for the whole server within 3 s; False also when the CA file cannot be read."""
    try:
        channel = grpc.aio.secure_channel(address, _credentials(ca_file)) if ca_file else grpc.aio.insecure_channel(address)
    except OSError:
        return False
    async with channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _credentials(ca_file: str) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(ca_file).read_bytes())
