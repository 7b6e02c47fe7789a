"""The mesh at rest, after all trainings ended: what the database, the broker and the registry hold then."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika
import asyncpg

from chaos.world import World
from doctrain_mesh.registry import membership
from doctrain_mesh.registry.etcd import EtcdRegistry

QUIET_SECONDS = 25.0
_IN_FLIGHT = "select count(*) from shard where state in (1, 2, 3)"
_LIVE = "select worker_id, count(*) as sessions from session where state = 1 group by worker_id"
_TABLES = {
    "tenants": "select tenant.id, tenant.name, tenant_limit.slots from tenant join tenant_limit on tenant_limit.tenant = tenant.id",
    "trainings": "select id, tenant, task_id, state, sealed, total, completed, failed, version, reason from training",
    "shards": "select id, training, shard_number, first, count, open, state, number, holder, losses, suspects from shard",
    "documents": "select training, ordinal, state, error_class, attempt, tries, losses, error_code, document_id from document",
    "sessions": "select id, worker_id, state, draining, predecessor from session",
    "indexed": "select tenant, document_id, training, ordinal, content_hash, chunk_count from indexed_document",
    "chunks": "select tenant, document_id, count(*) as chunks, min(training) as training, max(training) as last from chunk group by 1, 2",
}


async def settle(world: World) -> dict[str, Any]:
    """Waits until nothing moves any more, for a while at most, and answers what then stands."""
    await world.fleet.whole(QUIET_SECONDS)
    deadline = asyncio.get_running_loop().time() + QUIET_SECONDS
    while True:
        facts = await _look(world)
        if _quiet(facts, world) or asyncio.get_running_loop().time() > deadline:
            return facts
        await asyncio.sleep(0.5)


def _quiet(facts: dict[str, Any], world: World) -> bool:
    workers = {post.name: 1 for post in world.fleet.workers}
    registered = sorted([*workers, *(post.name for post in world.fleet.coordinators)])
    return (
        facts["in_flight"] == facts["unsettled"] == facts["queue"] == facts["dead"] == 0
        and facts["live"] == workers
        and sorted(facts["registered"]) == registered
    )


async def _look(world: World) -> dict[str, Any]:
    connection = await asyncpg.connect(world.database, timeout=20)
    try:
        in_flight = await connection.fetchval(_IN_FLIGHT)
        live = {row["worker_id"]: row["sessions"] for row in await connection.fetch(_LIVE)}
    finally:
        await connection.close()
    broker = await aio_pika.connect(world.rabbitmq.url)
    async with broker, broker.channel() as channel:
        queues = [await channel.declare_queue(name, passive=True) for name in (world.queue, f"{world.queue}.dead")]
    async with EtcdRegistry(world.etcd.url) as registry:
        keys = await registry.list(membership.ROOT)
    return {
        "in_flight": in_flight,
        "live": live,
        "queue": queues[0].declaration_result.message_count,
        "dead": queues[1].declaration_result.message_count,
        "unsettled": world.acks.unsettled,
        "registered": sorted(key.removeprefix(membership.ROOT).split("/")[1] for key in keys),
    }


async def dump(world: World, rest: dict[str, Any]) -> None:
    """Every table that the checker reads, into ``database.json``, and ``rest.json``."""
    (world.folder / "rest.json").write_text(json.dumps(rest))
    connection = await asyncpg.connect(world.database, timeout=20)
    try:
        tables = {name: [_plain(row) for row in await connection.fetch(query)] for name, query in _TABLES.items()}
    finally:
        await connection.close()
    (world.folder / "database.json").write_text(json.dumps(tables))


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
