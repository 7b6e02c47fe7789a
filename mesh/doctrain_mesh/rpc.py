"""gRPC as every part uses it: channel and server options, and the one place that turns errors into statuses."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from opentelemetry import trace

from doctrain_mesh.errors import DoctrainError

log = logging.getLogger(__name__)
DOMAIN = "doctrain.dev"
MOST_VIOLATION_BYTES = 2_048
LONGEST_STATUS = 500
"""Clients refuse more than 8 KiB of trailers, in base64, sentence included."""
MOST_RETRY_SECONDS = 86_400.0
"""Longest that a client is told to wait."""
DETAILS_KEY = "grpc-status-details-bin"

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

LARGEST_OF_WORKERS = 16 * 2**20
"""Bytes that a worker's message may have."""
ROOM_BYTES = 2**20
IDLE_CONNECTION_MS = 60_000
GREETING_MS = 20_000
"""How long a connection may take until it is one: TLS, and the first settings of HTTP/2."""


def server_options(max_request_bytes: int) -> list[tuple[str, int]]:
    """Room for the largest message and a little more, so that one that is a little too large is told so by us and not by gRPC.

    Of a request that nobody reads yet at most a MiB is taken in. A connection whose other end is gone is closed after half a minute, and
    one without a call, however alive, after ``IDLE_CONNECTION_MS``: each takes a file.
    """
    return [
        ("grpc.max_receive_message_length", max(max_request_bytes, LARGEST_OF_WORKERS) + ROOM_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.http2.lookahead_bytes", 2**20),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_idle_ms", IDLE_CONNECTION_MS),
        ("grpc.server_handshake_timeout_ms", GREETING_MS),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 4_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),
    ]


def details(error: DoctrainError) -> list[Message]:
    """The google.rpc details of an error: ErrorInfo always, the others where they apply."""
    found: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if error.violations:
        found.append(_bad_request(error))
    if error.retry_after_seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(int(min(error.retry_after_seconds, MOST_RETRY_SECONDS) * 1000))
        found.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        violation = error_details_pb2.QuotaFailure.Violation(subject=error.metadata.get("subject", ""), description=error.sentence)
        found.append(error_details_pb2.QuotaFailure(violations=[violation]))
    return found


def _bad_request(error: DoctrainError) -> error_details_pb2.BadRequest:
    """As many violations as fit beside the rest into the trailers that every client takes."""
    request = error_details_pb2.BadRequest()
    for violation in error.violations:
        request.field_violations.add(field=violation.field, description=violation.description)
        if request.ByteSize() > MOST_VIOLATION_BYTES:
            del request.field_violations[-1]
            break
    return request


async def abort(context: grpc.aio.ServicerContext[object, object], error: DoctrainError) -> NoReturn:
    """Ends a call with an error's status, sentence and details."""
    status = status_pb2.Status(code=error.status.value[0], message=error.sentence[:LONGEST_STATUS])
    for detail in details(error):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    try:
        await context.abort(error.status, error.sentence[:LONGEST_STATUS], ((DETAILS_KEY, status.SerializeToString()),))
    except grpc.aio.InternalError as ended:
        raise asyncio.CancelledError from ended  # the call is over, and nobody is left to be told


def internal(error: BaseException, method: str) -> DoctrainError:
    """What a caller is told of a fault of ours; the log gets the rest, with the id that the caller is to report.

    It is the trace's; a call of which there is no trace gets one of its own.
    """
    span = trace.get_current_span().get_span_context()
    trace_id = f"{span.trace_id:032x}" if span.is_valid else secrets.token_hex(16)
    log.error("%s failed (trace id %s)", method, trace_id, exc_info=error)
    sentence = f"The service failed at this call; its operators can see why in the log. Please report the trace id {trace_id}."
    return DoctrainError(sentence, metadata={"trace_id": trace_id})
