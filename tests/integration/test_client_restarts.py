"""A client at work while coordinators go and come: it is told of nothing that it need not know."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from doctrain import AsyncClient, errors
from doctrain.endpoints import Endpoints
from doctrain.tries import Tries
from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc as pb_grpc
from doctrain_coordinator import app
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from testkit.scripted_service import UNAVAILABLE, Failure, ScriptedService, serving
from testkit.server import free_port

CUT_OFF = Failure(grpc.StatusCode.CANCELLED, "CANCELLED")


class Restarting:
    """A coordinator at one address that can be sent away and started again."""

    def __init__(self, settings: Settings, broker: MemoryBroker, registry: MemoryRegistry) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._settings, self._broker, self._registry = replace(settings, listen=self.address), broker, registry
        self._stack = AsyncExitStack()

    async def start(self) -> app.RunningCoordinator:
        return await self._stack.enter_async_context(app.running(self._settings, broker=self._broker, registry=self._registry))

    async def stop(self) -> None:
        await self._stack.aclose()


async def test_uploads_go_on_while_every_coordinator_is_restarted_in_turn(postgres: str, tmp_path: Path) -> None:
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), drain_seconds=20.0)
    broker, registry = MemoryBroker(), MemoryRegistry()
    both = [Restarting(settings, broker, registry) for _ in range(2)]
    running = [await one.start() for one in both]
    await running[0].tenants.create("acme", "paid", 1.0)
    key = (await running[0].keys.create(1, "acme", "")).key
    stored, over = 0, False

    async def store() -> None:
        nonlocal stored
        while not over:
            await client.upload(os.urandom(200))
            stored += 1

    async with AsyncClient([one.address for one in both], api_key=key) as client:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(store())
            for one in both * 3:
                await one.stop()
                await one.start()
            over = True
        slow = asyncio.Event()

        async def trickle() -> AsyncIterator[bytes]:
            for _ in range(16):  # more than is taken in before a coordinator reads it
                yield b"a" * 2**19
            slow.set()
            await asyncio.sleep(1.0)  # longer than a coordinator takes to send its workers elsewhere
            yield b"b" * 1000

        uploading = asyncio.create_task(client.upload(trickle()))
        await slow.wait()
        await asyncio.gather(*(one.stop() for one in both))
        assert (await uploading).size == 2**23 + 1000, "what runs when a coordinator is told to end is served to its end"
    assert stored > 100


async def test_who_calls_a_coordinator_that_drains_is_told_to_go_elsewhere(postgres: str, tmp_path: Path) -> None:
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), drain_seconds=20.0)
    coordinator = Restarting(settings, MemoryBroker(), MemoryRegistry())
    running = await coordinator.start()
    await running.tenants.create("acme", "paid", 1.0)
    metadata = (("authorization", f"Bearer {(await running.keys.create(1, 'acme', '')).key}"),)
    async with grpc.aio.insecure_channel(running.address, options=[("grpc.enable_retries", 0)]) as channel:
        stub = pb_grpc.TrainingServiceStub(channel)

        async def until_refused() -> None:
            while True:
                await stub.ListTrainings(pb.ListTrainingsRequest(), metadata=metadata)

        await stub.ListTrainings(pb.ListTrainingsRequest(), metadata=metadata)
        stopping = asyncio.create_task(coordinator.stop())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until_refused()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert errors.parse_details(caught.value.trailing_metadata()).reason == "SHUTTING_DOWN"
        await stopping


async def test_a_call_that_the_service_cuts_off_is_made_again() -> None:
    service = ScriptedService()
    service.failures.update(
        UploadDocument=[CUT_OFF], GetTraining=[CUT_OFF, Failure(grpc.StatusCode.NOT_FOUND, "No.", "TRAINING_NOT_FOUND")]
    )
    async with serving(service) as now, AsyncClient(now.address, api_key="secret") as client:
        assert (await client.upload(b"x")).size == 1
        with pytest.raises(errors.TrainingNotFoundError):
            await client.get_training("t")
        service.failures["UploadDocument"] = [CUT_OFF]

        async def once() -> AsyncIterator[bytes]:
            yield b"x"

        with pytest.raises(errors.UnavailableError, match="it ended the call, as it does when it shuts down"):
            await client.upload(once())


async def test_a_service_that_has_answered_is_waited_for_longer_than_one_that_never_did() -> None:
    service = ScriptedService()
    async with serving(service) as now:
        async with AsyncClient(now.address, api_key="secret") as client:
            service.failures["UploadDocument"] = [UNAVAILABLE] * 4
            with pytest.raises(errors.UnavailableError):
                await client.upload(b"x")
        async with AsyncClient(now.address, api_key="secret") as client:
            service.failures["UploadDocument"] = []
            await client.upload(b"x")
            service.failures["UploadDocument"] = [UNAVAILABLE] * 4
            assert (await client.upload(b"y")).size == 1


async def test_each_of_several_calls_side_by_side_tries_every_address() -> None:
    endpoints = Endpoints("localhost:1,localhost:2", api_key="secret", ca=None, interceptors=())
    tries = Tries("read")
    first = endpoints.next(tries)
    tries.add(first.address, errors.UnavailableError("It is away."))
    endpoints.failed(first)
    second = endpoints.next(Tries("read"))
    endpoints.failed(second)  # another call's, which brings the first one back
    assert endpoints.next(tries).address == second.address != first.address
    await endpoints.close()
