"""A coordinator in this process on a real Postgres, with clients of tenants and operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

import doctrain
from doctrain.errors import DoctrainError
from doctrain_coordinator import app
from doctrain_coordinator.tenants.identity import ROLE_NAMES
from doctrain_mesh.broker.memory import MemoryBroker
from doctrain_mesh.ports import Broker
from doctrain_mesh.registry.memory import MemoryRegistry
from doctrain_mesh.settings import Settings


@dataclass
class Coordinators:
    """Those that run over one database; ``settings`` are the first one's."""

    stack: AsyncExitStack
    settings: Settings
    running: list[app.RunningCoordinator] = field(default_factory=list)
    broker: Broker = field(default_factory=MemoryBroker)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)

    async def key(self, role: int, tenant: str = "") -> str:
        """A new key."""
        return (await self.running[0].keys.create(role, tenant, ROLE_NAMES[role])).key

    async def tenant(self, name: str, plan: str = "paid") -> doctrain.AsyncClient:
        """A client of a tenant, made when it is new."""
        await self.running[0].tenants.create(name, plan, 1.0)
        return await self.client(await self.key(1, name))

    async def client(self, key: str) -> doctrain.AsyncClient:
        """A client with this key, closed at the end."""
        addresses = [one.address for one in self.running]
        return await self.stack.enter_async_context(doctrain.AsyncClient(addresses, api_key=key))

    async def channel(self, to: int = 0) -> grpc.aio.Channel:
        """A bare channel to one of them."""
        return await self.stack.enter_async_context(grpc.aio.insecure_channel(self.running[to].address))

    async def database(self) -> asyncpg.Connection[Any]:
        """A connection to look into the tables."""
        connection = await asyncpg.connect(self.settings.database_url)
        self.stack.push_async_callback(connection.close)
        return connection


DRAINED_SECONDS = 0.02
"""Tests of a coordinator in this process are over when it is told to end, and there are hundreds."""


@asynccontextmanager
async def coordinators(
    database_url: str, folder: Path, *, count: int = 1, broker: Broker | None = None, **settings: Any
) -> AsyncIterator[Coordinators]:
    """``count`` coordinators; ``documents`` below the folder is the root of ``file://``. ``broker``: None for one in this process."""
    (folder / "documents").mkdir(exist_ok=True)
    (folder / "blobs").mkdir(exist_ok=True)
    chosen = Settings(
        database_url=database_url,
        blob_url=(folder / "blobs").as_uri(),
        file_root=str(folder / "documents"),
        listen="127.0.0.1:0",
        drain_seconds=2.0,
        **settings,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "MOVE_SECONDS", DRAINED_SECONDS)
        async with _running(chosen, count, broker or MemoryBroker()) as made:
            yield made


@asynccontextmanager
async def _running(chosen: Settings, count: int, broker: Broker) -> AsyncIterator[Coordinators]:
    async with AsyncExitStack() as services, AsyncExitStack() as clients:
        made = Coordinators(clients, chosen, broker=broker)
        for _ in range(count):
            context = app.running(chosen, broker=made.broker, registry=made.registry)
            made.running.append(await services.enter_async_context(context))
        yield made


async def refused(call: Awaitable[object]) -> DoctrainError:
    """The error with which a call is refused."""
    with pytest.raises(DoctrainError) as caught:
        await call
    return caught.value
