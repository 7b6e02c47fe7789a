"""The streams between workers and coordinators: two ordered pipes each, that delay, are cut for a while, or break.

A call has the surface of grpc.aio's that the product uses. What is sent over a cut link arrives when it heals, as TCP sends again; a
break is seen by both ends soon, since no network resets one end while it swallows the other's packets (DESIGN, promise 4).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.v1 import tracker_pb2 as pb
from simulation.virtual_loop import PROCESS, Process, virtual_loop

_OK = grpc.StatusCode.OK
_OPEN = object()
RESET_SECONDS = 0.3
"""A worker writes a ping every 0.25 s, and so learns of a reset by then."""
JUST_SECONDS = 1.5
"""That a worker freezes just as its connection breaks is beyond what is promised (docs/adr/0010)."""


class _End:
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self.code, self.details = code, details


class _Pipe:
    """One direction of one stream."""

    def __init__(self, network: Network, link: tuple[str, str]) -> None:
        self._network, self._link = network, link
        self._last = 0.0
        self.arrived: deque[Any] = deque()
        self._reader: asyncio.Future[None] | None = None
        self.on_arrival: Callable[[Any], None] = self._queue

    def send(self, item: Any) -> None:
        """Arrives later, in order."""
        loop = virtual_loop()
        self._last = max(self._last, loop.time() + self._network.latency())
        loop.later(self._last - loop.time(), self._arrive, item)

    def _arrive(self, item: Any) -> None:
        held = self._network.held(self._link)
        if held is not None:
            held.append((self, item))
        else:
            self.on_arrival(item)

    def _queue(self, item: Any) -> None:
        self.arrived.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def receive(self) -> Any:
        """The next item."""
        while not self.arrived:
            self._reader = virtual_loop().create_future()
            await self._reader
        return self.arrived.popleft()


class Call:
    """The worker's side of a stream."""

    def __init__(self, network: Network, link: tuple[str, str]) -> None:
        self.process = PROCESS.get()
        self._up, self._down = _Pipe(network, link), _Pipe(network, link)
        self._end: _End | None = None
        self._ended: asyncio.Future[_End] = virtual_loop().create_future()
        self._down.on_arrival = self._take
        Context(network, link, self._up, self._down)
        self._up.send(_OPEN)

    async def write(self, request: pb.TrackRequest) -> None:
        if self._end is not None:
            raise asyncio.InvalidStateError("RPC already finished.")
        if self.process is None or self.process.alive:
            self._up.send(request.SerializeToString())

    async def done_writing(self) -> None:
        self._up.send(grpc.aio.EOF)

    async def read(self) -> Any:
        item = await self._down.receive()
        if isinstance(item, _End):
            self._down.arrived.appendleft(item)
            if item.code is not _OK:
                raise grpc.aio.AioRpcError(item.code, grpc.aio.Metadata(), grpc.aio.Metadata(), item.details)
            return grpc.aio.EOF
        return pb.TrackResponse.FromString(item)

    async def code(self) -> grpc.StatusCode:
        return (await asyncio.shield(self._ended)).code

    async def details(self) -> str:
        return str((await asyncio.shield(self._ended)).details)

    def cancel(self) -> None:
        """Also what a kernel does for a process that died."""
        if self._end is None:
            self._finish(_End(grpc.StatusCode.CANCELLED, "cancelled"))
            self._up.send(_End(grpc.StatusCode.CANCELLED))

    def _take(self, item: Any) -> None:
        if self._end is None:
            self._down._queue(item)
            if isinstance(item, _End):
                self._finish(item)

    def _finish(self, end: _End) -> None:
        self._end = end
        self._ended.set_result(end)
        self._down._queue(end)


class Context:
    """The coordinator's side of a stream."""

    def __init__(self, network: Network, link: tuple[str, str], up: _Pipe, down: _Pipe) -> None:
        self._network, self._link, self._up, self._down = network, link, up, down
        self._task: asyncio.Task[Any] | None = None
        self._process: Process | None = None
        self.ended_here = False
        up.on_arrival = self._take

    async def read(self) -> Any:
        item = await self._up.receive()
        return item if item is grpc.aio.EOF else pb.TrackRequest.FromString(item)

    async def write(self, response: pb.TrackResponse) -> None:
        if self._process is None or self._process.alive:
            self._down.send(response.SerializeToString())

    def _connect(self) -> None:
        served = self._network.serving(self._link[1])
        if served is None:
            self._down.send(_End(grpc.StatusCode.UNAVAILABLE, "failed to connect"))
            return
        self._process, handler = served
        self._task = self._process.spawn(self._serve(handler), name=f"stream of {self._link[0]}")
        self._network.streams[self] = self._link

    async def _serve(self, handler: Callable[[Any, Any], Any]) -> None:
        end = _End(grpc.StatusCode.UNAVAILABLE, "the coordinator is gone")
        try:
            await handler(None, self)
            end = _End(_OK)
        except DoctrainError as error:
            end = _End(error.status, error.sentence)
        finally:
            self._network.streams.pop(self, None)
            self._down.send(end)

    def _take(self, item: Any) -> None:
        if item is _OPEN:
            self._connect()
        elif isinstance(item, _End):
            self.end()
        else:
            self._up._queue(item)

    def end(self) -> None:
        """As grpc.aio does for a stream whose peer is gone: its handler is cancelled."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def shatter(self, seconds: float) -> None:
        """The connection is reset: this end sees it at once, the worker's after so long."""
        virtual_loop().later(seconds, self._down.on_arrival, _End(grpc.StatusCode.UNAVAILABLE, "connection reset by peer"))
        self.end()


class Network:
    """All links, by (worker, coordinator's address)."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.slow = 0.0
        self.broken_at: dict[str, float] = {}
        self.streams: dict[Context, tuple[str, str]] = {}
        self._calls: dict[Call, None] = {}
        self._serving: dict[str, tuple[Process, Callable[[Any, Any], Any]]] = {}
        self._cut: dict[tuple[str, str], list[tuple[_Pipe, Any]]] = {}

    def latency(self) -> float:
        """Of one message."""
        return self._draw.uniform(0.02, 0.8) if self._draw.random() < self.slow else self._draw.uniform(0.0001, 0.003)

    def listen(self, address: str, process: Process, handler: Callable[[Any, Any], Any]) -> None:
        """A coordinator serves streams."""
        self._serving[address] = process, handler

    def close(self, address: str) -> None:
        """It serves no more; streams that are left end."""
        self._serving.pop(address, None)
        for context in [context for context, link in self.streams.items() if link[1] == address]:
            context.ended_here = True
            context.end()

    def serving(self, address: str) -> tuple[Process, Callable[[Any, Any], Any]] | None:
        """Who serves there."""
        served = self._serving.get(address)
        return served if served is not None and served[0].alive else None

    def channel(self, worker: str, address: str) -> Channel:
        """A worker's channel to a coordinator."""
        return Channel(self, (worker, address))

    def call(self, link: tuple[str, str]) -> Call:
        """A stream is opened."""
        call = Call(self, link)
        self._calls[call] = None
        return call

    def held(self, link: tuple[str, str]) -> list[tuple[_Pipe, Any]] | None:
        """Where packets of a cut link wait; None when it is whole."""
        return self._cut.get(link)

    def cut(self, link: tuple[str, str]) -> None:
        """Nothing passes, and nobody is told."""
        self._cut.setdefault(link, [])

    def heal(self, link: tuple[str, str]) -> None:
        """What was sent meanwhile arrives."""
        for pipe, item in self._cut.pop(link, ()):
            pipe.on_arrival(item)

    def heal_all(self) -> None:
        """Every link is whole."""
        for link in tuple(self._cut):
            self.heal(link)

    def shatter_one(self) -> None:
        """Some connection is reset; not one over a cut link, whose ends learn nothing, nor one of a worker that has just frozen."""
        whole = [context for context, link in self.streams.items() if link not in self._cut and not self._has_just_frozen(link[0])]
        if whole:
            context = self._draw.choice(whole)
            self.broken_at[self.streams[context][0]] = virtual_loop().time()
            context.shatter(self._draw.uniform(0.0, RESET_SECONDS))

    def _has_just_frozen(self, worker: str) -> bool:
        since = virtual_loop().time() - JUST_SECONDS
        return any(call.process is not None and call.process.name == worker and call.process.frozen_since > since for call in self._calls)

    def lose(self, process: Process, *, silent: bool = False) -> None:
        """A process is gone: its kernel closes its streams, or, ``silent``, its machine is gone with it."""
        for call in [call for call in self._calls if call.process is process]:
            if silent:
                call._end = _End(grpc.StatusCode.CANCELLED)
            else:
                call.cancel()
            del self._calls[call]


class Channel:
    """As much of grpc.aio's as the worker uses."""

    def __init__(self, network: Network, link: tuple[str, str]) -> None:
        self._network, self._link = network, link

    def stream_stream(self, path: str, **_: Any) -> Callable[..., Call]:
        assert path == "/doctrain_mesh.v1.TrackerService/Track"
        return lambda **_: self._network.call(self._link)

    def get_state(self, *, try_to_connect: bool) -> grpc.ChannelConnectivity:
        """As far as a client knows: a cut link seems to be there."""
        served = self._network.serving(self._link[1])
        return grpc.ChannelConnectivity.IDLE if served is None else grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Nothing is kept."""
