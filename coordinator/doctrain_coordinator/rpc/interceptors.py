"""What happens around every call: a span, who calls and whether they may, and errors turned into statuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from doctrain_coordinator.keys import ROLE_NAMES, Identity, Keys
from doctrain_coordinator.rpc.policies import POLICIES, PUBLIC
from doctrain_mesh import rpc, telemetry
from doctrain_mesh.errors import DoctrainError, PermissionDeniedError, UnauthenticatedError

CALLER: ContextVar[Identity] = ContextVar("doctrain_caller")
"""Who made the call that runs now."""

_MISSING = "The call carries no API key; send one as metadata `authorization: Bearer KEY`."


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
        call = _Call(self._keys, handler_call_details.method, dict(handler_call_details.invocation_metadata or ()))
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            return make(call.streaming(behaviour), handler.request_deserializer, handler.response_serializer)
        make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        return make(call.unary(behaviour), handler.request_deserializer, handler.response_serializer)


class _Call:
    def __init__(self, keys: Keys, method: str, metadata: dict[str, Any]) -> None:
        self._keys, self._method, self._metadata = keys, method, metadata

    def unary(self, behaviour: Any) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            async def answer() -> Any:
                return await behaviour(request, context)

            return await self._around(context, answer)

        return handle

    def streaming(self, behaviour: Any) -> Any:
        async def handle(request: Any, context: Any) -> None:
            async def answer() -> None:
                result = behaviour(request, context)
                if not isinstance(result, AsyncIterator):
                    await result
                    return
                async for response in result:
                    await context.write(response)

            await self._around(context, answer)

        return handle

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
            except (asyncio.CancelledError, grpc.aio.AbortError):
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
