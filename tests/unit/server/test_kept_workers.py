"""The workers of an embedded mesh, which are started again: not once the mesh ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from doctrain_server.dev.workers import kept_workers
from doctrain_server.services import worker


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
