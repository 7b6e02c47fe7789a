"""A coordinator, and a worker's stream to it that a test speaks by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import grpc

from doctrain_coordinator import app
from doctrain_coordinator.tenants.identity import ROLE_WORKER
from doctrain_mesh import postgres as mesh_postgres
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc
from testkit.core import NOW_MS, Core, message

ANSWER_SECONDS = 10.0
T = TypeVar("T")
Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.TrackRequest, pb.TrackResponse]"


@dataclass
class Served:
    """A coordinator, and the hands of a test on its database."""

    address: str
    key: str
    core: Core
    running: app.RunningCoordinator


@asynccontextmanager
async def serving(postgres: str, tmp_path: Path) -> AsyncIterator[Served]:
    settings = Settings(
        database_url=postgres,
        blob_url=tmp_path.as_uri(),
        listen="127.0.0.1:0",
        name="coordinator",
        lease_seconds=4.0,
        drain_seconds=1.0,
    )
    broker = MemoryBroker()
    async with app.running(settings, broker=broker, registry=MemoryRegistry()) as running:
        key = (await running.keys.create(ROLE_WORKER, "", "test")).key
        pool = await mesh_postgres.create_pool(postgres, size=4, name="test")
        try:
            yield Served(running.address, key, Core(postgres, pool, broker, 4.0), running)
        finally:
            await mesh_postgres.close_pool(pool)


class Worker:
    """One stream, spoken by hand."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.welcome = pb.Welcome()
        self.kept: list[pb.TrackResponse] = []
        """Answers that were read and not asked for."""

    async def say(self, **parts: Any) -> None:
        await self._call.write(pb.TrackRequest(**parts))

    async def hear(self, wanted: Callable[[pb.TrackResponse], T | None]) -> T:
        """The first answer, earlier ones included, of which ``wanted`` finds something."""
        async with asyncio.timeout(ANSWER_SECONDS):
            for place, earlier in enumerate(self.kept):
                if found := wanted(earlier):
                    del self.kept[place]
                    return found
            while isinstance(response := await self._call.read(), pb.TrackResponse):
                if found := wanted(response):
                    return found
                self.kept.append(response)
        raise AssertionError("the stream ended")

    async def begin(self, ref: pb.ShardRef) -> pb.BeginAnswer:
        await self.say(begins=[pb.Begin(shard=ref)])
        return (await self.hear(lambda r: list(r.begins)))[0]

    async def report(self, ref: pb.ShardRef, first: int, count: int, sequence: int = 1) -> pb.BlockAnswer:
        block = pb.Block(sequence=sequence, shard=ref, first=first, base_ms=NOW_MS, started=list(range(count)), took=[1] * count)
        await self.say(blocks=[block])
        return (await self.hear(lambda r: list(r.blocks)))[0]

    async def beat(self, *held: pb.ShardRef, sequence: int = 1, draining: bool = False, resize: int = 0) -> pb.HeartbeatAnswer:
        named = [pb.HeldShard(shard=ref.shard, number=ref.number, resize=resize) for ref in held]
        await self.say(heartbeat=pb.Heartbeat(sequence=sequence, held=named, draining=draining))
        return await self.hear(lambda r: r.heartbeat if r.HasField("heartbeat") else None)

    async def ended(self) -> grpc.StatusCode:
        async with asyncio.timeout(ANSWER_SECONDS):
            while await self._call.read() is not grpc.aio.EOF:
                pass
            return await self._call.code()


@asynccontextmanager
async def stream(served: Served, worker: str = "w", **hello: Any) -> AsyncIterator[Worker]:
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = tracker_pb2_grpc.TrackerServiceStub(channel).Track(metadata=(("authorization", f"Bearer {served.key}"),))
        try:
            made = Worker(call)
            await made.say(hello=pb.Hello(worker_id=worker, lanes=2, **hello))
            made.welcome = await made.hear(lambda r: r.welcome if r.HasField("welcome") else None)
            yield made
        finally:
            call.cancel()


@asynccontextmanager
async def granted(served: Served, count: int = 10) -> AsyncIterator[tuple[int, pb.ShardRef, Any]]:
    """A training whose first shard is on its way; needs a session with lanes."""
    async with served.core.broker.consume(50) as consumer:
        tenant = await served.core.tenant("a")
        training = await served.core.training(tenant, "t", count)
        first = await message(consumer)
        yield training, pb.ShardRef(shard=first.shard, number=first.number), consumer
