"""The workers of an embedded mesh, which are started again, whatever ends them: not once the mesh ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.errors import ConfigurationError, DoctrainError, StoreUnavailableError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline, unwrapped_group
from doctrain_server.dev import workers
from doctrain_server.dev.workers import kept_workers
from doctrain_server.services import worker
from doctrain_worker.pipeline import plugins
from doctrain_worker.pipeline.processor import DocumentTask, Outcome, ShardContext
from doctrain_worker.shards import holds
from testkit.scripted_tracker import Script, begun, message, tracker_server
from testkit.waiting import wait_until
from testkit.worker import Documents


async def test_a_worker_that_loses_its_guardian_as_the_mesh_fails_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    @asynccontextmanager
    async def running(settings: Settings, **_: Any) -> AsyncIterator[SimpleNamespace]:
        opened = asyncio.Event()
        opened.set()
        started.append(settings.name)
        try:
            yield SimpleNamespace(session=SimpleNamespace(opened=opened))
        except asyncio.CancelledError:
            raise worker.WorkerEndedError("The guardian ended with the mesh.") from None

    monkeypatch.setattr(worker, "running", running)
    async with asyncio.timeout(5):
        with pytest.raises(ExceptionGroup) as raised:
            async with kept_workers(2, Settings(), broker=MemoryBroker(), registry=MemoryRegistry()):
                raise LookupError("The mesh failed.")
    assert raised.group_contains(LookupError)
    assert started == ["worker-1", "worker-2"]


async def test_what_a_worker_meets_when_it_is_started_again_ends_no_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []
    ends, lives = asyncio.Event(), asyncio.Event()

    async def end() -> None:
        await ends.wait()
        raise worker.WorkerEndedError("Its guardian is gone.")

    @asynccontextmanager
    async def running(_: Settings, **__: Any) -> AsyncIterator[SimpleNamespace]:
        starts.append(len(starts))
        if len(starts) == 2:
            raise StoreUnavailableError("Postgres is away.")
        opened = asyncio.Event()
        opened.set()
        async with unwrapped_group() as group:
            if len(starts) == 1:
                group.create_task(end())
            else:
                lives.set()
            yield SimpleNamespace(session=SimpleNamespace(opened=opened))

    monkeypatch.setattr(worker, "running", running)
    monkeypatch.setattr(workers, "FIRST_PAUSE_SECONDS", 0.01)
    async with asyncio.timeout(5), kept_workers(1, Settings(), broker=MemoryBroker(), registry=MemoryRegistry()):
        ends.set()
        await lives.wait()
    assert len(starts) == 3


@pytest.mark.parametrize("error", [StoreUnavailableError("Postgres is away."), ConfigurationError("A setting is wrong.")])
async def test_what_a_worker_lacks_at_its_first_start_is_said(error: DoctrainError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "running", Mock(side_effect=error))
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(5), kept_workers(1, Settings(), broker=MemoryBroker(), registry=MemoryRegistry()):
            pytest.fail("it runs")
    assert raised.group_contains(type(error))


class Stubborn(Documents):
    """A processor whose documents run on when they are to end, until they are ``late``."""

    def __init__(self) -> None:
        super().__init__()
        self.late = asyncio.Event()

    async def process(self, document: DocumentTask, shard: ShardContext) -> Outcome:
        try:
            return await super().process(document, shard)
        except asyncio.CancelledError:
            await self.late.wait()
            raise


async def test_a_worker_whose_shards_run_on_after_their_session_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    documents, script, broker = Stubborn(), Script({(1, 1): begun(1, 1, 3)}), MemoryBroker()
    monkeypatch.setattr(plugins, "processor", lambda *_: documents)

    @asynccontextmanager
    async def until_late(operation: str, seconds: float) -> AsyncIterator[None]:
        try:
            async with deadline(operation, seconds):
                yield
        finally:
            documents.late.set()

    monkeypatch.setattr(holds, "deadline", until_late)
    monkeypatch.setattr(holds, "ENDED_SECONDS", 0.1)
    async with tracker_server(script) as tracker:
        settings = Settings(processor="its:own", coordinators=tracker.address, fence_margin_seconds=0.5)
        async with kept_workers(1, settings, broker=broker, registry=MemoryRegistry()):
            await broker.publish([message(1, 1)])
            await wait_until(lambda: documents.running)
            documents.free = True
            script.lost_sessions.add(1)
            await wait_until(lambda: script.is_done((1, 1)), 20)
    assert "Ending the shards of a lost session did not finish within 0.1 s. Start it again." in caplog.text
    assert "worker-1 ended; it is started again in" in caplog.text
