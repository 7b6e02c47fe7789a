"""What happens around every call: a span, who calls, whether they may and when it is their turn, and errors turned into statuses.

gRPC reads the request of a unary call before its handler is called, whoever made it. So handlers are given to gRPC as streams,
and a request is read when its caller is known and its tenant's turn has come (docs/adr/0035).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import grpc
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from doctrain_coordinator.rpc import calls, refusals
from doctrain_coordinator.rpc.caller import CALLER, METHOD, TURN
from doctrain_coordinator.rpc.gates import Gate, Gates
from doctrain_coordinator.rpc.places import Heard, Place, Whose
from doctrain_coordinator.rpc.policies import PUBLIC, policy_of
from doctrain_coordinator.rpc.quotas import Quotas
from doctrain_coordinator.rpc.streams import Decoder, StalledError, StreamContext
from doctrain_coordinator.tenants.identity import ROLE_NAMES, ROLE_OPERATOR, ROLE_WORKER, Identity
from doctrain_coordinator.tenants.keys import Keys, shown_key
from doctrain_mesh import rpc
from doctrain_mesh.errors import (
    ConfigurationError,
    DoctrainError,
    InvalidRequestError,
    PermissionDeniedError,
    RequestTooLargeError,
    TenantSuspendedError,
    UnauthenticatedError,
    UnavailableError,
    UploadStalledError,
)
from doctrain_mesh.observability import telemetry
from doctrain_mesh.postgres import Pool
from doctrain_mesh.supervise import unwrapped_group

log = logging.getLogger(__name__)
_MISSING = "The call carries no API key; send one as metadata `authorization: Bearer KEY`."
_CERTIFICATE = "x509_pem_cert"
_NO_WORKERS = (
    "This address takes no workers. Theirs is the one of DOCTRAIN_WORKER_LISTEN, which the registry or DOCTRAIN_COORDINATORS names; "
    "there they show the certificate of DOCTRAIN_TLS_CERTIFICATE."
)
FOR_TENANT = "doctrain-tenant"
"""Metadata with which an operator names the tenant that a call is made for."""
KEY_SECONDS = 5.0
"""How often an open stream looks whether its key is still in force."""
REQUEST_SECONDS = 60.0
"""Longest time for a request to arrive, once it is read."""


@dataclass(frozen=True, slots=True)
class _Doors:
    """What every call passes: its key is known, its tenant's plan allows it, its turn comes."""

    keys: Keys
    gates: Gates
    quotas: Quotas
    pool: Pool


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the server, whatever its kind."""

    def __init__(
        self, keys: Keys, gates: Gates, quotas: Quotas, pool: Pool, *, most_documents: int, certified_workers: bool = False
    ) -> None:
        self._doors = _Doors(keys, gates, quotas, pool)
        self._most_documents, self._certified_workers = most_documents, certified_workers

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
        method = handler_call_details.method
        policy = policy_of(method)
        decoder = Decoder(handler.request_deserializer, policy.most_bytes, policy.fields(self._most_documents))
        certified = self._certified_workers and policy.role == ROLE_WORKER
        call = _Call(self._doors, method, metadata, decoder, certified=certified)
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            streaming = call.streaming(behaviour, handler.request_streaming)
            return grpc.stream_stream_rpc_method_handler(streaming, None, handler.response_serializer)
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        return grpc.stream_unary_rpc_method_handler(call.unary(behaviour, handler.request_streaming), None, handler.response_serializer)


class _Asked:
    """What a client asks: one request, or a stream of them."""

    def __init__(self, requests: AsyncIterator[bytes], streaming: bool, decoder: Decoder, stream: StreamContext | None = None) -> None:
        self._requests, self._streaming, self._decoder = requests, streaming, decoder
        self._data = b""
        self.stream = stream
        """What a handler that answers with a stream reads and writes."""

    async def read(self, place: Place) -> None:
        """Waits for the one request, whose client may lose its place; a stream is read by its handler, on that place.

        Nothing keeps its bytes once it is decoded. Raises InvalidRequestError for none, RequestTooLargeError, UploadStalledError.
        """
        if self._streaming:
            self._requests = Heard(place, self._requests)
            return
        self._data = await self._one(place)
        try:
            self._decoder.check(len(self._data))
        except RequestTooLargeError:
            self._data = b""
            raise
        place.was_read()

    async def _one(self, place: Place) -> bytes:
        coming = aiter(self._requests)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await place.hear(coming)
        except StopAsyncIteration as error:
            raise InvalidRequestError("The call carries no request.") from error
        except TimeoutError as error:
            raise UploadStalledError(
                f"The request did not arrive within {REQUEST_SECONDS:g} s. Send it again, or upload its documents and name them."
            ) from error
        finally:
            if isinstance(coming, AsyncGenerator):
                await coming.aclose()  # it would keep the request for as long as the call lasts

    async def request(self) -> Any:
        """Decoded, once; raises InvalidRequestError for what is none, RequestTooLargeError for one of too many fields."""
        if self._streaming:
            return self._decoder.stream(self._requests)
        data, self._data = self._data, b""
        return await self._decoder.read(data)


class _Call:
    """One call. Requests arrive as bytes and are decoded once the caller may call: gRPC's own word for bad ones is INTERNAL."""

    def __init__(self, doors: _Doors, method: str, metadata: dict[str, Any], decoder: Decoder, *, certified: bool) -> None:
        self._doors, self._certified = doors, certified
        self._method, self._policy, self._metadata, self._decoder = method, policy_of(method), metadata, decoder

    def unary(self, behaviour: Any, request_streaming: bool) -> Any:
        async def handle(requests: AsyncIterator[bytes], context: Any) -> Any:
            asked = _Asked(requests, request_streaming, self._decoder)
            return await self._around(context, asked, lambda request: behaviour(request, context))

        return handle

    def streaming(self, behaviour: Any, request_streaming: bool) -> Any:
        async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
            stream = StreamContext(context, self._decoder)

            async def answer(request: Any) -> None:
                result = behaviour(request, stream)
                if not isinstance(result, AsyncIterator):
                    await result
                    return
                async with contextlib.aclosing(cast("AsyncGenerator[Any, None]", result)) as responses:
                    async for response in responses:
                        await stream.write(response)

            asked = _Asked(requests, request_streaming, self._decoder, stream)
            try:
                await self._around(context, asked, lambda request: self._while_in_force(answer(request), stream))
            except StalledError as stalled:
                log.info("A client of %s %s and is cut off.", self._method, stalled)
                raise asyncio.CancelledError from None  # how a handler drops its call without waiting to send a status

        return handle

    async def _while_in_force(self, answer: Awaitable[None], stream: StreamContext) -> None:
        """Ends a stream within seconds of its key's being revoked."""
        async with unwrapped_group() as group:
            watch = group.create_task(self._watch_key(stream), name="whether the key is in force")
            try:
                await answer
            finally:
                watch.cancel()

    async def _watch_key(self, stream: StreamContext) -> None:
        while True:
            await asyncio.sleep(KEY_SECONDS)
            try:
                await self._authorised()
            except UnavailableError:
                continue
            except DoctrainError:
                stream.ended_here = True
                raise

    async def _around(self, context: Any, asked: _Asked, answer: Callable[[Any], Awaitable[Any]]) -> Any:
        with calls.measured(self._method) as call, self._span() as span:
            try:
                if self._certified and _CERTIFICATE not in context.auth_context():
                    raise ConfigurationError(_NO_WORKERS)
                METHOD.set(self._method)
                caller = await self._authorised()
                if caller.role == PUBLIC:
                    return await self._in_turn(self._doors.gates.public, context.peer().rpartition(":")[0], asked, answer)
                if caller.role == ROLE_WORKER and asked.stream is not None:
                    asked.stream.place_of_first = self._doors.gates.workers.place(caller.key_id)
                    return await answer(await asked.request())
                gate = self._doors.gates.of(self._policy.cost, caller)
                with self._doors.quotas.call(self._policy.cost, caller):
                    return await self._in_turn(gate, caller.tenant, asked, answer)
            except (asyncio.CancelledError, grpc.aio.AbortError, StalledError):
                raise
            except DoctrainError as error:
                refused = error
                if (known := CALLER.get(None)) is not None:
                    await refusals.tell(self._doors.pool, known, self._method, error)
            except Exception as error:
                refused = rpc.internal(error, self._method)
                span.set_status(Status(StatusCode.ERROR))
            call.status = refused.status.name
            span.set_attribute("rpc.grpc.status_code", refused.status.value[0])
            return await rpc.abort(context, refused)

    async def _in_turn(self, gate: Gate, whose: Whose, asked: _Asked, answer: Callable[[Any], Awaitable[Any]]) -> Any:
        async with gate.place(whose) as place:
            await asked.read(place)
            async with gate.turn(place) as turn:
                TURN.set(turn)
                return await answer(await asked.request())

    def _span(self) -> AbstractContextManager[Span]:
        """None for what is asked again and again, or lasts as long as somebody looks: it would hide the traces that tell something."""
        if not self._policy.traced:
            return trace.use_span(trace.INVALID_SPAN)
        parent = telemetry.context_of(str(self._metadata.get("traceparent", "")))
        service, _, name = self._method.lstrip("/").partition("/")
        return telemetry.tracer().start_as_current_span(
            f"{service}/{name}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
            record_exception=False,
        )

    async def _authorised(self) -> Identity:
        required = self._policy.role
        if required == PUBLIC:
            CALLER.set(Identity(PUBLIC))
            return CALLER.get()
        key = shown_key(str(self._metadata.get("authorization", "")))
        if not key:
            raise UnauthenticatedError(_MISSING)
        identity = await self._doors.keys.identify(key)
        trace.get_current_span().set_attribute("doctrain.role", ROLE_NAMES[identity.role])
        CALLER.set(identity)
        identity = await self._acting(identity)
        CALLER.set(identity)
        if identity.role != required and not (identity.tenant and self._policy.for_tenants):
            wanted = ROLE_NAMES.get(required, "nobody")
            named = ", or the name of the tenant that it is for (doctrain-tenant; --tenant on the command line)"
            raise PermissionDeniedError(
                f"A key of role {ROLE_NAMES[identity.role]} may not call this; it needs one of role {wanted}"
                f"{named if self._policy.for_tenants and identity.role == ROLE_OPERATOR else ''}.",
                metadata={"role": ROLE_NAMES[identity.role], "required": wanted},
            )
        if identity.suspended and not self._policy.while_suspended:
            raise TenantSuspendedError(identity.suspended)
        if identity.tenant_id:
            trace.get_current_span().set_attribute("doctrain.tenant_id", identity.tenant_id)
        return identity

    async def _acting(self, identity: Identity) -> Identity:
        """The caller, who acts for the tenant that it names: an operator for any, in tenants' calls, a tenant for itself."""
        named = str(self._metadata.get(FOR_TENANT, ""))
        if not named or named == identity.tenant_id:
            return identity
        if identity.role != ROLE_OPERATOR:
            raise PermissionDeniedError(
                f"A key of role {ROLE_NAMES[identity.role]} acts for no other tenant; leave {FOR_TENANT} (--tenant) out.",
                metadata={"role": ROLE_NAMES[identity.role], "required": ROLE_NAMES[ROLE_OPERATOR]},
            )
        if self._policy.role == ROLE_OPERATOR:
            return identity
        return await self._doors.keys.for_tenant(identity, named)
