"""The embedded mesh: Postgres, a coordinator and workers in one process, for a laptop, a demo and most tests.

The broker and the registry are the in-process ones; everything else is what production runs: gRPC over loopback, a real
Postgres, and for each worker a guardian with its children in processes of their own.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from doctrain_coordinator import app as coordinator
from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, ROLE_TENANT, ROLE_WORKER
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.observability.outage import cause
from doctrain_mesh.postgres import sizes
from doctrain_mesh.settings import Settings
from doctrain_server import adapters, required
from doctrain_server.dev.folder import KEYS, check_free, held, kept_keys
from doctrain_server.dev.postgres import embedded_postgres
from doctrain_server.dev.workers import kept_workers
from doctrain_worker.pipeline import plugins

TENANT = "demo"
PLAN = "paid"
PROFILE = "client.json"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running embedded mesh: where it answers and the keys it made; ``dashboard`` is empty where there is none."""

    address: str
    dashboard: str
    tenant_key: str
    operator_key: str
    profile: Path
    database_url: str


@asynccontextmanager
async def embedded_mesh(
    folder: Path, settings: Settings, *, workers: int, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Embedded]:
    """Runs the mesh on ``folder`` while open; its data and keys stay there for the next time. ``tell`` hears what takes time.

    Raises ConfigurationError when another process has the folder or the address, or a stage or the model is not there.
    """
    plugins.stages(settings)  # before a database is made for nothing
    required.check_model(settings)
    check_free(folder)  # whoever has it mostly has the address, too
    coordinator.check_addresses(settings)
    folder = _prepared(folder)
    async with AsyncExitStack() as stack:
        ours = stack.enter_context(held(folder))
        connections = sizes.needed(coordinators=1, workers=workers, children=settings.children_or_cores)
        database_url = settings.database_url or await stack.enter_async_context(
            embedded_postgres(folder / "postgres", tell, connections=connections)
        )
        blob_url = settings.blob_url or (folder / "blobs").as_uri()
        settings = dataclasses.replace(settings, database_url=database_url, blob_url=blob_url)
        broker = await stack.enter_async_context(adapters.open_broker(settings))
        registry = await stack.enter_async_context(adapters.open_registry(settings))
        served = await stack.enter_async_context(coordinator.running(settings, broker=broker, registry=registry))
        keys = await _keys(folder / KEYS, served)
        tell(f"Starting {workers} worker{'s' if workers > 1 else ''} ...")
        own = dataclasses.replace(settings, worker_key=keys["worker_key"], coordinators=served.address_of_workers)
        await stack.enter_async_context(kept_workers(workers, own, broker=broker, registry=registry))
        profile = folder / PROFILE
        _write_private(
            profile,
            {"address": served.address, "tenant_key": keys["tenant_key"], "operator_key": keys["operator_key"]},
        )
        ours.say(served.address)
        yield Embedded(served.address, served.dashboard, keys["tenant_key"], keys["operator_key"], profile, database_url)


async def _keys(file: Path, served: coordinator.RunningCoordinator) -> dict[str, str]:
    """The keys of this folder's mesh, in a file that only its owner reads: made on first use, an operator's also if it is out of force."""
    kept = kept_keys(file.parent)
    if kept and await served.keys.knows(kept["worker_key"]):
        if await served.keys.knows(kept["operator_key"]):
            return kept
        made = {**kept, "operator_key": await _key(served, ROLE_OPERATOR)}
    else:
        await served.tenants.create(TENANT, PLAN, 1.0)
        made = {
            "tenant_key": await _key(served, ROLE_TENANT, TENANT),
            "worker_key": await _key(served, ROLE_WORKER),
            "operator_key": await _key(served, ROLE_OPERATOR),
        }
    _write_private(file, made)
    return made


async def _key(served: coordinator.RunningCoordinator, role: int, tenant_id: str = "") -> str:
    return (await served.keys.create(role, tenant_id, "doctrain dev")).key


def _prepared(folder: Path) -> Path:
    """The whole path of the folder, made when it is missing; one that we make is none of the project's around it, for it holds keys."""
    folder = folder.resolve()
    made = not folder.exists()
    try:
        (folder / "blobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be used for data ({cause(error)}); choose another with --data.") from error
    return folder


def _write_private(file: Path, content: dict[str, str]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=2)
        handle.write("\n")
