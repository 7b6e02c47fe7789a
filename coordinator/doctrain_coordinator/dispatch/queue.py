"""The queue of shards as operators see it: in all, by tenant, and how long the oldest waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from doctrain_coordinator.core.states import ShardState, TrainingState
from doctrain_coordinator.tracking.workers import health_alarm, read_intake
from doctrain_mesh import postgres
from doctrain_mesh.postgres import Connection, Pool, statements

SQL = statements.of(__name__, ShardState, TrainingState)
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TenantQueue:
    """A tenant's part: shards that wait, those of ``paused`` trainings among them, and how many of its plan's ``slots`` are ``used``."""

    name: str
    slots: int
    pending: int
    paused: int
    used: int


@dataclass(frozen=True, slots=True)
class Queue:
    """Shards by their state, documents that are ``open``, each tenant's part, and the ``oldest_wait`` in seconds, None: none may start.

    The ``paused``, with their training or their tenant, are among the ``pending``.
    ``health_alarm`` as ``tracking.workers.health_alarm``, ``intake_alarm`` as ``tracking.workers.IntakeCounts.alarm``.
    """

    pending: int
    paused: int
    dispatched: int
    running: int
    open: int
    tenants: Sequence[TenantQueue]
    oldest_wait: float | None
    health_alarm: str
    intake_alarm: str


async def read_oldest_wait(c: Connection) -> float | None:
    """How long the oldest training that has a shard to be granted waits, in seconds; None: there is none."""
    return cast("float | None", await c.fetchval(SQL["oldest_wait"]))


async def read_queue(pool: Pool) -> Queue:
    """The queue as it stands; raises StoreUnavailableError."""
    async with postgres.acquired(pool, "reading the queue", seconds=READ_SECONDS) as c:
        in_all = await c.fetchrow(SQL["queue"])
        oldest = await read_oldest_wait(c)
        tenants = await c.fetch(SQL["queue_by_tenant"])
        health, intake = await health_alarm(c), await read_intake(c)
    assert in_all is not None
    shares = [TenantQueue(**row) for row in tenants]
    return Queue(**in_all, tenants=shares, oldest_wait=oldest, health_alarm=health, intake_alarm=intake.alarm)
