"""Reads the streams of one watch, one after the other, until the training has ended; what is shown is decided in ``doctrain.watch``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable

import grpc.aio

from doctrain.endpoints import Endpoint, Endpoints
from doctrain.errors import DoctrainError, UnavailableError
from doctrain.tries import Tries
from doctrain.v1 import training_pb2
from doctrain.watch import Interruption, Update, Watching

OPERATION = "watch the training"


async def follow(
    endpoints: Endpoints,
    training_task_id: str,
    *,
    include_documents: bool,
    patience_seconds: float,
    silence_seconds: float,
    on_interrupted: Callable[[Interruption | None], None],
) -> AsyncGenerator[Update, None]:
    """See ``AsyncClient.watch``; a stream without any message for ``silence_seconds`` counts as broken."""
    now = asyncio.get_running_loop().time
    tries = Tries(OPERATION)
    watching = Watching(
        training_task_id,
        include_documents=include_documents,
        addresses=len(endpoints),
        now=now(),
        patience_seconds=patience_seconds,
    )
    heard = now()
    while not watching.finished:
        endpoint = endpoints.next(tries)
        await asyncio.sleep(endpoint.pace.turn(now(), heard + patience_seconds))
        call = endpoint.training.WatchStatus(watching.request(), metadata=endpoints.metadata)
        failure = None
        try:
            while not watching.finished and failure is None:
                message = await _next_message(call, endpoints, endpoint, silence_seconds)
                if isinstance(message, training_pb2.WatchStatusResponse):
                    if watching.interrupted:
                        on_interrupted(None)
                    tries.clear()
                    heard = now()
                    update = watching.received(message, now())
                    if update is not None:
                        yield update
                else:
                    failure = message or watching.stream_ended()
        finally:
            # A stream that is dropped without being cancelled would stay open at the service.
            call.cancel()
        too_soon = endpoint.pace.refused(failure.details, now(), heard + patience_seconds) if failure is not None else None
        if too_soon is not None:
            await asyncio.sleep(too_soon)
        elif failure is not None:
            endpoints.failed(endpoint)
            tries.add(endpoint.address, failure)
            try:
                pause = watching.pause_after(failure, now(), random.random())  # noqa: S311 (jitter)
            except DoctrainError as given_up:
                raise await endpoints.told(given_up, tries) from given_up
            on_interrupted(watching.interruption(failure, now()))
            await asyncio.sleep(pause)


async def _next_message(
    call: grpc.aio.UnaryStreamCall[training_pb2.WatchStatusRequest, training_pb2.WatchStatusResponse],
    endpoints: Endpoints,
    endpoint: Endpoint,
    silence_seconds: float,
) -> training_pb2.WatchStatusResponse | DoctrainError | None:
    """The next message; the failure that broke the stream; None at its orderly end."""
    try:
        async with asyncio.timeout(silence_seconds):
            message = await call.read()
    except TimeoutError:
        sentence = f"The service at {endpoint.address} gave no sign of life for {silence_seconds:g} s."
        return UnavailableError(sentence, cause=f"no sign of life for {silence_seconds:g} s")
    except grpc.aio.AioRpcError as error:
        return endpoints.translate(error, OPERATION, endpoint, silence_seconds)
    return message if isinstance(message, training_pb2.WatchStatusResponse) else None
