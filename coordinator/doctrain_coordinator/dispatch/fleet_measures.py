"""The fleet in numbers, for metrics: read by the leader alone, every few seconds, never because somebody asks.

What a coordinator read is told only while it leads and Postgres answers, so that no number is told twice or long after it was true.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from doctrain_coordinator import metrics
from doctrain_coordinator.core.named_tenants import MOST_NAMED, Share, shares
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.dispatch.queue import read_oldest_wait
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.observability.metrics import Gauge, Reading
from doctrain_mesh.ports import Broker, QueueDepth
from doctrain_mesh.postgres import Pool, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState, ShardState)
EVERY_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""How soon a coordinator that begins to lead reads."""
READ_SECONDS = 10.0
PLAN_KINDS = ("guaranteed", "burst", "allowed")
_STATES = (ShardState.PENDING, ShardState.DISPATCHED, ShardState.RUNNING, ShardState.STOPPING)

_STANDS = ("live", "spared", "unfit", "cordoned", "unsubscribed", "draining", "silent", "lost")


@dataclass(frozen=True, slots=True)
class _Fleet:
    """Shards and sessions by state, (plan, kind, slots) of ``plans``, and the rest as the metrics of these names.

    ``broker`` is None while it does not answer.
    """

    shards: Mapping[ShardState, int]
    open_documents: int
    oldest_wait: float
    tenants: Sequence[Share]
    plans: Sequence[tuple[str, str, int]]
    lanes: Mapping[str, int]
    sessions: Mapping[str, int]
    broker: QueueDepth | None


class FleetMeasures:
    """Measures the fleet for the metrics; each coordinator has one.

    ``run`` is supervised by the application. A session is silent ``silent_seconds`` after its last heartbeat.
    """

    def __init__(self, pool: Pool, broker: Broker, leads: Callable[[], bool], *, silent_seconds: float) -> None:
        self._pool, self._broker, self._leads, self._silent = pool, broker, leads, silent_seconds
        self._fleet: _Fleet | None = None

    async def run(self) -> None:
        """Reads while this coordinator leads, until cancelled."""
        while True:
            self._fleet = await self._read() if self._leads() else None
            await asyncio.sleep(LOOK_SECONDS if self._fleet is None else EVERY_SECONDS)

    @contextmanager
    def told(self) -> Iterator[None]:
        """The gauges tell what was read, while open."""
        read: dict[Gauge, Callable[[_Fleet], Iterable[Reading]]] = {
            metrics.SHARDS: lambda fleet: ((count, (state.name.lower(),)) for state, count in fleet.shards.items()),
            metrics.OPEN_DOCUMENTS: lambda fleet: [(fleet.open_documents, ())],
            metrics.OLDEST_WAIT: lambda fleet: [(fleet.oldest_wait, ())],
            metrics.TENANT_SHARDS: lambda fleet: ((share.pending, (share.name,)) for share in fleet.tenants),
            metrics.TENANT_SLOTS: lambda fleet: ((share.used, (share.name,)) for share in fleet.tenants),
            metrics.PLAN_SLOTS: lambda fleet: ((slots, (plan, kind)) for plan, kind, slots in fleet.plans),
            metrics.LANES: lambda fleet: ((count, (state,)) for state, count in fleet.lanes.items()),
            metrics.SESSIONS: lambda fleet: ((count, (state,)) for state, count in fleet.sessions.items()),
            metrics.BROKER_MESSAGES: lambda fleet: [(fleet.broker.ready, ())] if fleet.broker else [],
            metrics.BROKER_CONSUMERS: lambda fleet: [(fleet.broker.consumers, ())] if fleet.broker else [],
        }
        with ExitStack() as stack:
            for gauge, tell in read.items():
                stack.enter_context(gauge.reading(partial(self._told_of, tell)))
            yield

    def _told_of(self, tell: Callable[[_Fleet], Iterable[Reading]]) -> Iterable[Reading]:
        return tell(self._fleet) if self._fleet is not None and self._leads() else ()

    async def _read(self) -> _Fleet | None:
        try:
            async with postgres.acquired(self._pool, "measuring the fleet", seconds=READ_SECONDS) as c:
                by_state = {ShardState(row["state"]): row for row in await c.fetch(SQL["shards"])}
                largest = [Share(**row) for row in await c.fetch(SQL["largest_tenants"], MOST_NAMED)]
                plans = await c.fetch(SQL["plans"])
                sessions = {row["stands"]: row["sessions"] for row in await c.fetch(SQL["sessions"], self._silent)}
                lanes: int = await c.fetchval(SQL["lanes"])
                oldest = await read_oldest_wait(c)
        except UnavailableError as error:
            log.warning("The fleet is not measured: %s", error)
            return None
        counts = {state: by_state[state]["shards"] if state in by_state else 0 for state in _STATES}
        used = sum(row["used"] for row in by_state.values())
        busy = sum(row["in_lanes"] for row in by_state.values())
        return _Fleet(
            shards=counts,
            open_documents=sum(row["open"] for row in by_state.values()),
            oldest_wait=max(0.0, oldest or 0.0),
            tenants=shares(largest, pending=counts[ShardState.PENDING], used=used),
            plans=[(row["name"], kind, row[kind]) for row in plans for kind in PLAN_KINDS],
            lanes={"used": min(busy, lanes), "free": max(0, lanes - busy)},
            sessions={stands: sessions.get(stands, 0) for stands in _STANDS},
            broker=await self._depth(),
        )

    async def _depth(self) -> QueueDepth | None:
        try:
            return await self._broker.depth()
        except UnavailableError as error:
            log.warning("The broker's queue is not measured: %s", error)
            return None
