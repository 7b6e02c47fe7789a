"""A coordinator with a dashboard in this process, and a browser that must not complain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import doctrain
from testkit.chromium import Browser, browser
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import Indexer, indexing

Look = Callable[[Callable[[Browser], None]], asyncio.Future[None]]
"""Runs what a person does in a thread, in the one browser of the test."""


@dataclass
class Mesh:
    """A coordinator with its dashboard, a worker that indexes texts, and two tenants."""

    served: Coordinators
    indexer: Indexer
    acme: doctrain.AsyncClient
    zebra: doctrain.AsyncClient
    operator_key: str
    acme_key: str
    zebra_key: str


@asynccontextmanager
async def dashboard_mesh(postgres: str, folder: Path, **settings: Any) -> AsyncIterator[Mesh]:
    """The mesh; its data is in the folder."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(coordinators(postgres, folder, dashboard_listen="127.0.0.1:0", **settings))
        indexer = await stack.enter_async_context(indexing(served, name="worker-1", registry=served.registry))
        acme, zebra = await served.tenant("acme"), await served.tenant("zebra")
        keys = [await served.key(3), await served.key(1, "acme"), await served.key(1, "zebra")]
        yield Mesh(served, indexer, acme, zebra, *keys)


@asynccontextmanager
async def looking(served: Coordinators, folder: Path) -> AsyncIterator[Look]:
    """Opens the browser; its console must be empty in the end."""
    loop = asyncio.get_running_loop()
    stack = ExitStack()  # in threads: workers' heartbeats are on this loop, too
    opened = await asyncio.to_thread(stack.enter_context, browser(served.running[0].dashboard, folder))

    def run(act: Callable[[Browser], None]) -> asyncio.Future[None]:
        return loop.run_in_executor(None, act, opened)

    try:
        yield run
        assert await asyncio.to_thread(opened.complaints) == []
    finally:
        await asyncio.to_thread(stack.close)
