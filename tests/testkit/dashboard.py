"""A coordinator with a dashboard in this process, and a browser that must not complain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

import doctrain
from doctrain.v1 import training_pb2
from testkit.chromium import Browser, tab
from testkit.coordinator import Coordinators, coordinators
from testkit.indexing import Indexer, indexing

Look = Callable[[Callable[[Browser], None]], asyncio.Future[None]]
"""Runs what a person does in a thread, in the one tab of the test."""


TRAINING = "t-" + "long-name-" * 11
SHOWN = {
    "operator": {
        "fleet": "connected",
        "trainings": "t-long",
        f"training?tenant=acme&id={TRAINING}": "a.txt",
        "concurrency": "Nothing was decided yet.",
        "tenants": "acme",
        "usage": "acme",
        "keys": "operator",
        "audit": "was started",
        "dead-letters": "No dead letters.",
    },
    "tenant": {"search": "of 2 documents", "limits": "Bytes of one document", "usage": "First day"},
}
"""Every view of each role, and what shows that it is there, once something is ``trained``."""


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
async def looking(served: Coordinators, driver: Chrome) -> AsyncIterator[Look]:
    """Opens a tab; its console must be empty in the end."""
    loop = asyncio.get_running_loop()
    stack = ExitStack()  # in threads: workers' heartbeats are on this loop, too
    opened = await asyncio.to_thread(stack.enter_context, tab(driver, served.running[0].dashboard))

    def run(act: Callable[[Browser], None]) -> asyncio.Future[None]:
        return loop.run_in_executor(None, act, opened)

    try:
        yield run
        assert await asyncio.to_thread(opened.complaints) == []
    finally:
        await asyncio.to_thread(stack.close)


async def trained(mesh: Mesh) -> None:
    """Trains what the views then have to show: names as long as they may be."""
    documents = {"a.txt": b"Short.", "b" * 400: b"Long name."}
    inputs = [training_pb2.DocumentInput(document_id=name, content=content) for name, content in documents.items()]
    await mesh.acme.start_training(inputs, training_task_id=TRAINING)
    await mesh.acme.wait(TRAINING)
