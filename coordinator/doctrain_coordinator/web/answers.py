"""Answers of calls as JSON, and their errors: the status, the sentence and the google.rpc details, as any client has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from doctrain_mesh import rpc
from doctrain_mesh.errors import DoctrainError

LARGE_BYTES = 2**14
"""Messages from this size on are written in a thread: workers' heartbeats are answered on this loop, too."""
_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
_OWN_WORDS = {
    grpc.StatusCode.UNAVAILABLE: "This coordinator shuts down; call again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The call took too long, and its outcome is not known; make the same call again.",
}


async def encoded(message: Message) -> bytes:
    """The message's JSON with the names of the protos, every field in it that has a value of its own or a default."""
    if message.ByteSize() < LARGE_BYTES:
        return _encode(message)
    return await asyncio.to_thread(_encode, message)


def _encode(message: Message) -> bytes:
    content = json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _json(content)


def refusal(error: DoctrainError, status: HTTPStatus | None = None) -> web.Response:
    """An error of the gateway's own."""
    return _response(_body(error.status, error.sentence, rpc.details(error)), status or _status(error.status))


def failure(error: grpc.aio.AioRpcError) -> web.Response:
    """What a call ended with."""
    return _response(_failure_body(error), _status(_code(error)))


def failure_line(error: grpc.aio.AioRpcError) -> bytes:
    """The same as the last line of a stream."""
    return _json(_failure_body(error)) + b"\n"


def _failure_body(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """What gRPC says by itself has no details, and is said in words for people."""
    for name, value in error.trailing_metadata() or ():
        if name == rpc.DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            return _body(error.code(), status.message, status.details)
    code = _code(error)
    return _body(code, _OWN_WORDS.get(code, error.details() or ""), ())


def _code(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    """Its own; a call that gRPC cancelled was met by the coordinator's end, for whoever gave it up hears no answer."""
    return grpc.StatusCode.UNAVAILABLE if error.code() is grpc.StatusCode.CANCELLED else error.code()


def _body(code: grpc.StatusCode, sentence: str, details: Iterable[Message]) -> dict[str, Any]:
    told = [_detail(detail) for detail in details]
    return {"error": {"code": code.name, "message": sentence, "details": [detail for detail in told if detail is not None]}}


def _detail(detail: Message) -> dict[str, Any] | None:
    packed = detail if isinstance(detail, AnyMessage) else AnyMessage()
    if packed is not detail:
        packed.Pack(detail)
    try:
        found: dict[str, Any] = json_format.MessageToDict(packed, preserving_proto_field_name=True)
    except (TypeError, DecodeError):  # of a type that only later versions know
        return None
    return found


def _status(code: grpc.StatusCode) -> HTTPStatus:
    return _STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)


def _response(content: dict[str, Any], status: HTTPStatus) -> web.Response:
    return web.Response(body=_json(content), status=status, content_type="application/json")


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
