"""All that a run consists of: servers, the network between the parts, the fleet, and what watches them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaos import clocks
from chaos.acks import AckWatch
from chaos.fleet import Fleet, fleet
from chaos.journal import Journal
from chaos.sampler import Sampler
from chaos.small_disk import SmallDisk
from chaos.stages import LEDGER
from testkit.etcd import EtcdServer
from testkit.mesh import mesh
from testkit.otlp import receiver
from testkit.postgres import PostgresServer
from testkit.proxy import Proxy, proxy
from testkit.rabbitmq import RabbitMQServer
from testkit.server import free_port, own_server

LEASE_SECONDS, BEAT_SECONDS, MARGIN_SECONDS = 6.0, 0.5, 1.5
DOCUMENT_SECONDS = 8.0
WORKERS, COORDINATORS = 4, 2
START_SECONDS = 180.0
TESTS = Path(__file__).parents[1]
_STAGES = {f"DOCTRAIN_STAGE_{stage.upper()}": f"chaos.stages:{stage}" for stage in ("fetch", "read", "chunk")}


@dataclass
class World:
    """Handed to every fault and to the workload."""

    folder: Path
    journal: Journal
    random: random.Random
    postgres: PostgresServer
    rabbitmq: RabbitMQServer
    etcd: EtcdServer
    disk: SmallDisk
    database: str
    fleet: Fleet
    sampler: Sampler
    acks: AckWatch
    broker_network: Proxy
    coordinator_networks: Mapping[str, Proxy]
    collector_network: Proxy
    addresses: list[str]
    operator_key: str
    worker_key: str
    queue: str = "doctrain.shards"


@asynccontextmanager
async def world(folder: Path, seed: int, *, breaks: str = "") -> AsyncIterator[World]:
    """A mesh that works; ``breaks`` names a rule that its processes break (tests/chaos/broken)."""
    for name in ("blobs", "documents", "postgres", "rabbitmq", "etcd"):
        (folder / name).mkdir(mode=0o755)
    (folder / LEDGER).touch()
    journal = Journal(folder)
    with ExitStack() as servers:
        servers.callback(journal.close)
        disk = servers.enter_context(SmallDisk.mounted(folder / "postgres"))
        postgres = servers.enter_context(own_server(_postgres, folder / "postgres"))
        rabbitmq = servers.enter_context(own_server(RabbitMQServer, folder / "rabbitmq"))
        etcd = servers.enter_context(own_server(EtcdServer, folder / "etcd"))
        async with AsyncExitStack() as stack:
            sampler = Sampler(postgres.url(), journal)
            acks = AckWatch(postgres.url(), journal)
            made: list[Fleet] = []

            def owner_of(port: int) -> str:
                return made[0].owner_of(port) if made else ""

            broker = await stack.enter_async_context(proxy("127.0.0.1", rabbitmq.port, owner_of=owner_of, tap=acks.tap))
            collector = await stack.enter_async_context(receiver())
            collected = await stack.enter_async_context(proxy("127.0.0.1", int(collector.endpoint.rpartition(":")[2])))
            ports = {f"coordinator-{n + 1}": free_port() for n in range(COORDINATORS)}
            networks = {name: await stack.enter_async_context(proxy("127.0.0.1", port, owner_of=owner_of)) for name, port in ports.items()}
            environment = {
                "DOCTRAIN_DATABASE_URL": postgres.url(),
                "DOCTRAIN_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{broker.port}/",
                "DOCTRAIN_REGISTRY_URL": etcd.url,
                "DOCTRAIN_BLOB_URL": (folder / "blobs").as_uri(),
                "DOCTRAIN_FILE_ROOT": str(folder / "documents"),
                "DOCTRAIN_OTLP_ENDPOINT": f"http://127.0.0.1:{collected.port}",
                "DOCTRAIN_LEASE_SECONDS": str(LEASE_SECONDS),
                "DOCTRAIN_BEAT_SECONDS": str(BEAT_SECONDS),
                "DOCTRAIN_FENCE_MARGIN_SECONDS": str(MARGIN_SECONDS),
                "DOCTRAIN_DRAIN_SECONDS": "8",
                "PYTHONPATH": os.pathsep.join([str(TESTS / "chaos/start"), str(TESTS), str(folder)]),
                "CHAOS_BREAKS": breaks,
                **_STAGES,
                "DOCTRAIN_EMBEDDING": "chaos.stages:flat",
            }
            parts = await stack.enter_async_context(mesh(folder, environment))
            running = await stack.enter_async_context(fleet(parts, journal))
            made.append(running)
            for name, port in ports.items():
                own = {"DOCTRAIN_LISTEN": f"127.0.0.1:{port}", "DOCTRAIN_ADVERTISE": f"127.0.0.1:{networks[name].port}"}
                running.add("coordinator", name, partial(_settings, folder, name, own))
            fixed = ",".join(f"127.0.0.1:{network.port}" for network in networks.values())
            for number in range(WORKERS):
                own = {
                    "DOCTRAIN_COORDINATORS": fixed,
                    "DOCTRAIN_LANES": "4",
                    "DOCTRAIN_CHILDREN": "2",
                    "DOCTRAIN_HOLD_SECONDS": "30",
                    "DOCTRAIN_DOCUMENT_SECONDS": str(DOCUMENT_SECONDS),
                    "DOCTRAIN_SANDBOX": "rlimit",
                }
                name = f"worker-{number + 1}"
                running.add("worker", name, partial(_settings, folder, name, own))
            for watching in (sampler.run(running), acks.run()):
                task = asyncio.create_task(watching)
                stack.callback(task.cancel)
                task.add_done_callback(_must_not_end)
            if not await running.whole(START_SECONDS):
                raise AssertionError(f"The mesh did not start; look into {folder}.")
            yield World(
                folder,
                journal,
                random.Random(seed),
                postgres,
                rabbitmq,
                etcd,
                disk,
                postgres.url(),
                running,
                sampler,
                acks,
                broker,
                networks,
                collected,
                [f"127.0.0.1:{port}" for port in ports.values()],
                parts.operator_key,
                parts.worker_key,
            )


def _must_not_end(task: asyncio.Task[None]) -> None:
    """Without its observers a run proves nothing."""
    if not task.cancelled():
        traceback.print_exception(task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def _settings(folder: Path, name: str, own: Mapping[str, str]) -> Mapping[str, str]:
    return {**own, **clocks.environment(folder, name)}


def _postgres(folder: Path, users_lock: Path) -> PostgresServer:
    return PostgresServer(folder, users_lock, min_wal_size="32MB", max_wal_size="64MB")
