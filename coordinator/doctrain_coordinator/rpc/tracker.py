"""TrackerService: the streams of this coordinator's workers (docs/protocol.md, "Messages"), from their hello to what follows their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from doctrain_coordinator import metrics
from doctrain_coordinator.core.stream_end import StreamEnd, shortens_the_lease
from doctrain_coordinator.rpc import tracker_requests
from doctrain_coordinator.rpc.tracker_stream import Stream, TrackerParts
from doctrain_coordinator.tracking.sessions import Attachment
from doctrain_mesh.errors import InvalidRequestError
from doctrain_mesh.supervise import deadline
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc

HELLO_SECONDS = 10.0


class TrackerService(tracker_pb2_grpc.TrackerServiceServicer):
    """Serves every worker's stream of this coordinator."""

    def __init__(self, parts: TrackerParts) -> None:
        self._parts = parts
        self._streams: dict[Stream, None] = {}  # in the order in which they came, in the simulation as well
        self._draining = False

    def drain(self) -> None:
        """Tells every worker to move to another coordinator; ends of streams from now on are ours, not theirs."""
        self._draining = True
        for stream in self._streams:
            stream.outbox.drain()

    def cut(self) -> None:
        """Ends the streams of workers that found no other coordinator: they would stay as long as this one lets them."""
        for stream in self._streams:
            stream.outbox.close()

    async def Track(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.TrackRequest], context: grpc.aio.ServicerContext[pb.TrackRequest, pb.TrackResponse]
    ) -> None:
        """One worker's stream, until either side ends it."""
        async with deadline("The wait for a worker's hello", HELLO_SECONDS):
            first = await context.read()
        if not isinstance(first, pb.TrackRequest) or not first.HasField("hello") or not first.hello.worker_id:
            raise InvalidRequestError("The first request of a stream must carry `hello` with a `worker_id`.")
        attachment = await self._parts.sessions.open(tracker_requests.opening(first.hello))
        if attachment is None:
            await context.write(pb.TrackResponse(welcome=pb.Welcome()))
            return
        await self._serve(attachment, context)

    async def _serve(self, attachment: Attachment, context: Any) -> None:
        stream = Stream(self._parts, attachment, context, draining=self._draining)
        self._streams[stream] = None
        end = StreamEnd.FAILED
        try:
            with metrics.STREAMS.one():
                end = await stream.run()
        except asyncio.CancelledError:
            if not context.ended_here:  # the worker cancelled, or its connection broke
                end = StreamEnd.CLOSED
            raise
        finally:
            self._streams.pop(stream)
            if shortens_the_lease(end, spoken=stream.spoken, draining=self._draining):
                self._parts.spawn(self._parts.sessions.closed(attachment))
