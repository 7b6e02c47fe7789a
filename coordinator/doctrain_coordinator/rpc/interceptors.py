"""What happens around every call: a span, who calls and whether they may, and errors turned into statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, cast

import grpc
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from doctrain_coordinator.keys import ROLE_NAMES, Identity, Keys
from doctrain_coordinator.rpc.policies import MOST_BYTES, POLICIES, PUBLIC
from doctrain_coordinator.rpc.streams import Decoder, StalledError, StreamContext
from doctrain_mesh import rpc, telemetry
from doctrain_mesh.errors import DoctrainError, PermissionDeniedError, StoreUnavailableError, UnauthenticatedError

log = logging.getLogger(__name__)
CALLER: ContextVar[Identity] = ContextVar("doctrain_caller")
"""Who made the call that runs now."""

_MISSING = "The call carries no API key; send one as metadata `authorization: Bearer KEY`."
KEY_SECONDS = 5.0
"""How often an open stream looks whether its key is still in force."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the server, whatever its kind."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Answers the handler with what surrounds it."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = dict(handler_call_details.invocation_metadata or ())
        call = _Call(
            self._keys,
            handler_call_details.method,
            metadata,
            Decoder(handler.request_deserializer, MOST_BYTES.get(handler_call_details.method)),
        )
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            return make(call.streaming(behaviour, handler.request_streaming), None, handler.response_serializer)
        make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        return make(call.unary(behaviour, handler.request_streaming), None, handler.response_serializer)


class _Call:
    """One call. Requests arrive as bytes and are decoded once the caller may call: gRPC's own word for bad ones is INTERNAL."""

    def __init__(self, keys: Keys, method: str, metadata: dict[str, Any], decoder: Decoder) -> None:
        self._keys, self._method, self._metadata, self._decoder = keys, method, metadata, decoder

    def unary(self, behaviour: Any, request_streaming: bool) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            async def answer() -> Any:
                return await behaviour(self._decoded(request, request_streaming), context)

            return await self._around(context, answer)

        return handle

    def streaming(self, behaviour: Any, request_streaming: bool) -> Any:
        async def handle(request: Any, context: Any) -> None:
            stream = StreamContext(context, self._decoder)

            async def answer() -> None:
                result = behaviour(self._decoded(request, request_streaming), stream)
                if not isinstance(result, AsyncIterator):
                    await result
                    return
                async with contextlib.aclosing(cast("AsyncGenerator[Any, None]", result)) as responses:
                    async for response in responses:
                        await stream.write(response)

            try:
                await self._around(context, lambda: self._while_in_force(answer, stream))
            except StalledError as stalled:
                log.info("A client of %s %s and is cut off.", self._method, stalled)
                raise asyncio.CancelledError from None  # how a handler drops its call without waiting to send a status

        return handle

    def _decoded(self, request: Any, request_streaming: bool) -> Any:
        return self._decoder.stream(request) if request_streaming else self._decoder.message(request)

    async def _while_in_force(self, answer: Callable[[], Awaitable[None]], stream: StreamContext) -> None:
        """Ends a stream within seconds of its key's being revoked."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch_key(stream), name="whether the key is in force")
                try:
                    await answer()
                finally:
                    watch.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _watch_key(self, stream: StreamContext) -> None:
        while True:
            await asyncio.sleep(KEY_SECONDS)
            try:
                await self._authorised()
            except StoreUnavailableError:
                continue
            except DoctrainError:
                stream.ended_here = True
                raise

    async def _around(self, context: Any, answer: Callable[[], Awaitable[Any]]) -> Any:
        parent = propagate.extract(self._metadata)
        service, _, name = self._method.lstrip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with telemetry.tracer().start_as_current_span(
            f"{service}/{name}",
            context=parent or otel_context.Context(),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
        ) as span:
            try:
                CALLER.set(await self._authorised())
                return await answer()
            except (asyncio.CancelledError, grpc.aio.AbortError, StalledError):
                raise
            except DoctrainError as error:
                refused = error
            except Exception as error:
                refused = rpc.internal(error, self._method)
                span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("rpc.grpc.status_code", refused.status.value[0])
            return await rpc.abort(context, refused)

    async def _authorised(self) -> Identity:
        required = POLICIES.get(self._method)
        if required == PUBLIC:
            return Identity(PUBLIC)
        kind, _, key = str(self._metadata.get("authorization", "")).partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise UnauthenticatedError(_MISSING)
        identity = await self._keys.identify(key.strip())
        trace.get_current_span().set_attribute("doctrain.role", ROLE_NAMES[identity.role])
        if identity.role != required:
            wanted = ROLE_NAMES.get(required or 0, "nobody")
            raise PermissionDeniedError(
                f"A key of role {ROLE_NAMES[identity.role]} may not call this; it needs one of role {wanted}.",
                metadata={"role": ROLE_NAMES[identity.role], "required": wanted},
            )
        if identity.tenant_id:
            trace.get_current_span().set_attribute("doctrain.tenant_id", identity.tenant_id)
        return identity
