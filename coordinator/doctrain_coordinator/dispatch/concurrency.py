"""Moves what plans allow beside the leader's rounds: looks at queue, workers and dependencies, and decides in ``core.concurrency``.

Only the leader's process does it. What is allowed stands in the plans' rows, so that the next leader goes on from there, and two that
both think they lead do no harm: a change holds only if the plan is still what was looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.concurrency import BurstPlan, ConcurrencyPolicy, Decision, Fleet, Marks
from doctrain_coordinator.core.load import Load
from doctrain_coordinator.core.states import ShardState
from doctrain_coordinator.tracking.worker_records import WorkerLoads, WorkerRecords
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.observability import telemetry
from doctrain_mesh.postgres import Pool, Record, statements
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import forever

log = logging.getLogger(__name__)
SQL = statements.of(__name__, ShardState)
LOOK_SECONDS = 2.0
READ_SECONDS = 10.0
BEFORE_UNFIT = 0.9
"""Of what a worker's health allows, the share from which the machines bear no more: bursts go before workers do."""


def marks_of(settings: Settings) -> Marks:
    """Beyond which the machines bear no more."""
    return Marks(
        cpu_share=settings.concurrency_cpu_share,
        memory_share=BEFORE_UNFIT * settings.health_memory_share,
        loop_lag_seconds=BEFORE_UNFIT * settings.health_loop_lag_seconds,
        latency_seconds=settings.concurrency_latency_seconds,
        wait_seconds=settings.concurrency_wait_seconds,
    )


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What tells in seconds how long this coordinator's commits of results and the broker's confirmations take; None: there are none."""

    commit: Callable[[], float | None]
    confirmation: Callable[[], float | None]


class ConcurrencyControl:
    """Moves what plans allow; each coordinator has one.

    ``run`` is supervised by the application. ``leads`` tells whether this one decides.
    """

    def __init__(
        self,
        pool: Pool,
        records: WorkerRecords,
        changes: Changes,
        dependencies: Dependencies,
        *,
        marks: Marks,
        lane_slots: int,
        leads: Callable[[], bool],
    ) -> None:
        self._pool, self._records, self._changes, self._dependencies = pool, records, changes, dependencies
        self._new_policy, self._leads = partial(ConcurrencyPolicy, marks, lane_slots), leads
        self._policy = self._new_policy()

    async def run(self) -> None:
        """Decides until cancelled."""
        await forever("Moving what plans allow", self._look, expected=UnavailableError)

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        if not self._leads():
            self._policy = self._new_policy()
            return
        seen = await self._seen()
        if seen is None:
            return
        fleet, plans = seen
        for decision in self._policy.decide(time.monotonic(), fleet, plans):
            await self._carry_out(decision)

    async def _seen(self) -> tuple[Fleet, Sequence[BurstPlan]] | None:
        """None while no plan may burst, which costs one statement."""
        async with postgres.acquired(self._pool, "looking at the plans' concurrency", seconds=READ_SECONDS) as c:
            bursting = await c.fetch(SQL["bursting"])
            if not bursting:
                return None
            async with c.transaction():
                await c.execute(SQL["by_index"])
                demand = {row["plan"]: row for row in await c.fetch(SQL["demand"])}
                workers = await c.fetch(SQL["workers"])
                busy = await c.fetchval(SQL["busy"])
        loads = await self._records.known()
        deprived = sum(row["deprived"] for row in demand.values())
        fleet = _fleet(workers, loads, self._dependencies, busy=busy, deprived=deprived)
        return fleet, [_plan(plan, demand.get(plan["name"])) for plan in bursting]

    async def _carry_out(self, decision: Decision) -> None:
        change = decision.plan, decision.before, decision.after
        attributes = dict(zip(("doctrain.plan", "doctrain.slots_before", "doctrain.slots_after"), change, strict=True))
        with telemetry.span("concurrency decision", parent="", attributes={**attributes, "doctrain.reason": decision.reason}):
            async with postgres.acquired(self._pool, "changing what a plan allows", seconds=READ_SECONDS) as c, c.transaction():
                made = await c.fetchval(SQL["allow"], *change, decision.reason)
                if made is None:
                    return
                await c.execute(SQL["forget"], made)
        self._changes.work()
        metrics.CONCURRENCY_DECISIONS.add(1, "up" if decision.after > decision.before else "down")
        log.info("Plan %s allows %d documents at once instead of %d: %s", decision.plan, decision.after, decision.before, decision.reason)


def _plan(plan: Record, demand: Record | None) -> BurstPlan:
    seen = {name: demand[name] for name in ("held_back", "backlog", "wait", "most_used")} if demand is not None else {}
    return BurstPlan(**plan, **seen)


def _fleet(workers: Sequence[Record], loads: WorkerLoads, dependencies: Dependencies, *, busy: int, deprived: int) -> Fleet:
    said = [(worker["lanes"], loads.of(worker["worker_id"], worker["id"]) or Load()) for worker in workers]
    of_cpu = [(count, load.cpu) for count, load in said if load.cpu is not None]
    return Fleet(
        lanes=sum(count for count, _ in said),
        busy=busy,
        told=all(None not in (load.cpu, load.memory_share, load.loop_lag_seconds) for _, load in said),
        cpu=sum(count * cpu for count, cpu in of_cpu) / sum(count for count, _ in of_cpu) if of_cpu else None,
        memory=max((load.memory_share for _, load in said if load.memory_share is not None), default=None),
        loop_lag=max((load.loop_lag_seconds for _, load in said if load.loop_lag_seconds is not None), default=None),
        commit=dependencies.commit(),
        confirmation=dependencies.confirmation(),
        deprived=deprived,
    )
