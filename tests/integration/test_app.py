"""A coordinator that cannot come up leaves nothing behind; one that goes away does so in time."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import doctrain
from doctrain_coordinator import app
from doctrain_coordinator.web.dashboard import Dashboard
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings
from testkit.postgres import PostgresServer


class Deaf(MemoryRegistry):
    """A registry that takes nobody in."""

    async def register(self, *_: Any, **__: Any) -> Any:
        raise RegistryUnavailableError("The registry did not answer.")


async def test_one_that_goes_away_gives_the_threads_back_that_look_names_up(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Sources] = []

    def close(sources: Sources) -> None:
        closed.append(sources)

    monkeypatch.setattr(Sources, "close", close)
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), listen="127.0.0.1:0", drain_seconds=1.0)
    async with app.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()):
        assert closed == []
    assert len(closed) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def require_free(port: int) -> None:
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


async def test_one_that_the_registry_does_not_take_in_stops_serving(postgres: str, tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(database_url=postgres, blob_url=tmp_path.as_uri(), listen=f"127.0.0.1:{port}", drain_seconds=1.0)
    with pytest.RaisesGroup(RegistryUnavailableError):
        async with app.running(settings, broker=MemoryBroker(), registry=Deaf()):
            pytest.fail("it was not registered")
    require_free(port)


async def test_one_whose_dashboard_does_not_come_up_stops_serving(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(_: Dashboard) -> None:
        raise OSError("It cannot listen.")

    monkeypatch.setattr(Dashboard, "serving", deaf)
    port, folder = free_port(), tmp_path.as_uri()
    settings = Settings(database_url=postgres, blob_url=folder, listen=f"127.0.0.1:{port}", dashboard_listen="127.0.0.1:0")
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="cannot listen")):
        async with app.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()):
            pytest.fail("its dashboard is not there")
    require_free(port)


GONE_SECONDS = 12.0
"""Within which a coordinator with ``drain_seconds`` of 2 is gone; a pool's statements alone may take 30 s."""


async def test_one_whose_postgres_is_frozen_goes_away_in_time_and_without_a_stack_trace(
    own_postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_postgres.database() as url, AsyncExitStack() as stack:
        settings = Settings(database_url=url, blob_url=tmp_path.as_uri(), listen="127.0.0.1:0", drain_seconds=2.0)
        coordinator = AsyncExitStack()
        running = await coordinator.enter_async_context(app.running(settings, broker=MemoryBroker(), registry=MemoryRegistry()))
        await running.tenants.create("a", "paid", 1.0)
        key = (await running.keys.create(1, "a", "tenant")).key
        client = await stack.enter_async_context(doctrain.AsyncClient([running.address], api_key=key))
        await client.get_limits()
        own_postgres.freeze()
        try:
            calls = asyncio.gather(*(client.get_training("t") for _ in range(20)), return_exceptions=True)
            await asyncio.sleep(2)  # meanwhile each loop asks something
            async with asyncio.timeout(GONE_SECONDS):
                await coordinator.aclose()
            calls.cancel()
        finally:
            own_postgres.thaw()
    gc.collect()
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
