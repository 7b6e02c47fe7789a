"""One Track stream to one coordinator: opened, written by one task, read by another, cancelled at its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc

from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.supervise import first_of
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1.tracker_pb2_grpc import TrackerServiceStub
from doctrain_worker.tracking import messages
from doctrain_worker.tracking.exchange import Heard, Heartbeat, Hello, Welcome
from doctrain_worker.tracking.tracker import Tracker

Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.TrackRequest, pb.TrackResponse]"

PING_SECONDS = 0.25
WRITE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0


class NotAttachedError(UnavailableError):
    """No stream was opened: the coordinator refused it, did not answer in time, or could not be reached."""


class KeyRefusedError(NotAttachedError):
    """The coordinator does not take the worker's key; it will not take it the next time either."""


class Attempt:
    """One try to open a stream. ``told``: the coordinator may have been asked, whatever it answers."""

    def __init__(self, seconds: float) -> None:
        self.told = False
        self.limit = asyncio.timeout(seconds)

    def hurry(self, seconds: float) -> None:
        """Gives it no more than that from now on."""
        until = asyncio.get_running_loop().time() + seconds
        when = self.limit.when()
        if when is not None and until < when and not self.limit.expired():
            self.limit.reschedule(until)


class Stream:
    """An attached stream. ``run`` carries the tracker's traffic until the stream ends."""

    def __init__(self, call: Call, tracker: Tracker, welcome: Welcome, opened: float) -> None:
        self._call, self._tracker, self.welcome, self.opened = call, tracker, welcome, opened
        self._heartbeat: Heartbeat | None = None
        self._goodbye: str | None = None
        self._said_goodbye = asyncio.Event()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Sends this heartbeat next."""
        self._heartbeat = heartbeat
        self._tracker.wakeup.set()

    async def goodbye(self, reason: str) -> None:
        """Ends the session; returns once the coordinator has closed the stream or taken the goodbye."""
        self._goodbye = reason
        self._tracker.wakeup.set()
        await self._said_goodbye.wait()

    async def run(self, on_response: Callable[[Heard], None]) -> str:
        """Writes what the tracker gathers and hands it the answers until the stream ends; answers why it did."""
        self._tracker.stream_opened()
        try:
            return await first_of(_until_end(self._read(on_response)), _until_end(self._write()))
        finally:
            self._said_goodbye.set()

    async def _read(self, on_response: Callable[[Heard], None]) -> str:
        while isinstance(response := await self._call.read(), pb.TrackResponse):
            heard = messages.heard(response)
            on_response(heard)
            self._tracker.answer(heard)
        if await self._call.code() is grpc.StatusCode.OK:
            return "The coordinator closed the stream."
        return f"The stream ended: {await self._call.details()}"

    async def _write(self) -> str:
        goodbye = None
        while goodbye is None:
            await self._wait()
            pause = self._tracker.pause()
            said = self._tracker.gather() if pause is not None and pause <= 0 else None
            heartbeat, self._heartbeat = self._heartbeat, None
            goodbye = self._goodbye
            for request in messages.requests(said, heartbeat, goodbye):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._call.write(request)
        await self._call.done_writing()
        # The coordinator closes the stream once the goodbye is committed; to cancel it now could outrun the goodbye.
        await asyncio.sleep(GOODBYE_SECONDS)
        return "The worker said goodbye."

    async def _wait(self) -> None:
        """Until there is something to send, for one ping's time at most."""
        until = time.monotonic() + PING_SECONDS
        while self._heartbeat is None and self._goodbye is None:
            left = until - time.monotonic()
            pause = self._tracker.pause()
            if left <= 0 or (pause is not None and pause <= 0):
                return
            self._tracker.wakeup.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if pause is None else min(left, pause)):
                    await self._tracker.wakeup.wait()


async def _until_end(work: Awaitable[str]) -> str:
    """Why the stream ended, however that shows."""
    try:
        return await work
    except grpc.aio.AioRpcError as error:
        return f"The stream ended: {error.code().name}: {error.details()}"
    except asyncio.InvalidStateError:  # how grpc refuses a write to a call that has just ended
        return "The stream ended while the worker wrote."
    except TimeoutError:
        return f"The coordinator took nothing for {WRITE_SECONDS:g} s."


@asynccontextmanager
async def attached(channel: grpc.aio.Channel, key: str, hello: Hello, attempt: Attempt, tracker: Tracker) -> AsyncIterator[Stream]:
    """Opens a stream for the tracker; raises NotAttachedError when the coordinator does not welcome it in the attempt's time."""
    opened = time.monotonic()
    call = TrackerServiceStub(channel).Track(metadata=(("authorization", f"Bearer {key}"),))
    try:
        try:
            async with attempt.limit:
                await call.write(messages.opening(hello))  # returns once it is on a connection
                attempt.told = True
                first = await call.read()
                if not isinstance(first, pb.TrackResponse):
                    raise await _refusal(call)
        except TimeoutError as error:
            raise NotAttachedError(f"The coordinator did not answer within {time.monotonic() - opened:.2g} s.") from error
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await _refusal(call) from error
        yield Stream(call, tracker, messages.welcome(first.welcome), opened)
    except KeyRefusedError:
        attempt.told = False  # keys are looked at first
        raise
    finally:
        call.cancel()


async def _refusal(call: Call) -> NotAttachedError:
    """Why a call ended that was to become a stream."""
    code, details = await call.code(), await call.details()
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return KeyRefusedError(f"The coordinator refused the worker's key: {details}")
    return NotAttachedError(f"The coordinator refused the stream: {code.name}: {details}")
