"""One Track stream to one coordinator: opened, written by one task, read by another, cancelled at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.tracker import Tracker

log = logging.getLogger(__name__)
PING_SECONDS = 0.25
WRITE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0


class StreamEndedError(UnavailableError):
    """The coordinator ended the stream, or could not be reached."""


class KeyRefusedError(StreamEndedError):
    """The coordinator does not take the worker's key; it will not take it the next time either."""


class Stream:
    """An attached stream. ``run`` carries the tracker's traffic until the stream ends, always with StreamEndedError."""

    def __init__(self, call: Any, welcome: pb.Welcome, opened: float) -> None:
        self._call, self.welcome, self.opened = call, welcome, opened
        self._heartbeat: pb.Heartbeat | None = None
        self._goodbye: str | None = None
        self._said_goodbye = asyncio.Event()

    def beat(self, heartbeat: pb.Heartbeat) -> None:
        """Sends this heartbeat next."""
        self._heartbeat = heartbeat

    async def goodbye(self, tracker: Tracker, reason: str) -> None:
        """Ends the session; returns once the coordinator has closed the stream or taken the goodbye."""
        self._goodbye = reason
        tracker.wakeup.set()
        await self._said_goodbye.wait()

    async def run(self, tracker: Tracker, on_response: Callable[[pb.TrackResponse], None]) -> None:
        """Writes what the tracker gathers and hands it the answers."""
        tracker.stream_opened()
        reader = asyncio.create_task(self._read(tracker, on_response), name="answers of the tracker")
        writer = asyncio.create_task(self._write(tracker), name="words to the tracker")
        both = {reader, writer}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except grpc.aio.AioRpcError as error:
            raise StreamEndedError(f"The stream ended: {error.code().name}: {error.details()}") from error
        except asyncio.InvalidStateError as error:  # how grpc refuses a write to a call that has just ended
            raise StreamEndedError("The stream ended while the worker wrote.") from error
        except TimeoutError as error:
            raise StreamEndedError(f"The coordinator took nothing for {WRITE_SECONDS:g} s.") from error
        finally:
            self._said_goodbye.set()
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        raise StreamEndedError("The coordinator closed the stream.")

    async def _read(self, tracker: Tracker, on_response: Callable[[pb.TrackResponse], None]) -> None:
        while (response := await self._call.read()) is not grpc.aio.EOF:
            on_response(response)
            tracker.answer(response)
        if await self._call.code() is not grpc.StatusCode.OK:
            raise StreamEndedError(f"The stream ended: {await self._call.details()}")

    async def _write(self, tracker: Tracker) -> None:
        while True:
            await self._wait(tracker)
            request = pb.TrackRequest()
            pause = tracker.pause()
            if pause is not None and pause <= 0:
                tracker.gather(request)
            if self._heartbeat is not None:
                request.heartbeat.CopyFrom(self._heartbeat)
                self._heartbeat = None
            if self._goodbye is not None:
                request.goodbye.reason = self._goodbye
            async with asyncio.timeout(WRITE_SECONDS):
                await self._call.write(request)
            if self._goodbye is not None:
                await self._call.done_writing()
                # The coordinator closes the stream once the goodbye is committed; to cancel it now could outrun the goodbye.
                await asyncio.sleep(GOODBYE_SECONDS)
                return

    async def _wait(self, tracker: Tracker) -> None:
        """Until there is something to send, for one ping's time at most."""
        until = time.monotonic() + PING_SECONDS
        while self._heartbeat is None and self._goodbye is None:
            left = until - time.monotonic()
            pause = tracker.pause()
            if left <= 0 or (pause is not None and pause <= 0):
                return
            tracker.wakeup.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if pause is None else min(left, pause)):
                    await tracker.wakeup.wait()


@asynccontextmanager
async def attached(channel: grpc.aio.Channel, key: str, hello: pb.Hello, seconds: float) -> AsyncIterator[Stream]:
    """Opens a stream; raises StreamEndedError when the coordinator does not welcome it within ``seconds``."""
    method = channel.stream_stream(
        "/doctrain_mesh.v1.TrackerService/Track",
        request_serializer=pb.TrackRequest.SerializeToString,
        response_deserializer=pb.TrackResponse.FromString,
    )
    opened = time.monotonic()
    call = method(metadata=(("authorization", f"Bearer {key}"),))
    try:
        try:
            async with asyncio.timeout(seconds):
                await call.write(pb.TrackRequest(hello=hello))
                first = await call.read()
                if not isinstance(first, pb.TrackResponse):
                    raise await _refusal(call)
        except TimeoutError as error:
            raise StreamEndedError(f"The coordinator did not answer within {seconds:.2g} s.") from error
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await _refusal(call) from error
        yield Stream(call, first.welcome, opened)
    finally:
        call.cancel()


async def _refusal(call: Any) -> StreamEndedError:
    """Why a call ended that was to become a stream."""
    code, details = await call.code(), await call.details()
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return KeyRefusedError(f"The coordinator refused the worker's key: {details}")
    return StreamEndedError(f"The coordinator refused the stream: {code.name}: {details}")
