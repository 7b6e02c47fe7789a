"""Judges the workers' health beside the leader's rounds: what they say in the registry becomes a verdict in their sessions' rows.

Only the leader's process judges. A registry that is away, or a worker without a record, changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.health import Fitness, HealthLimits, HealthPolicy, Sight
from doctrain_coordinator.core.states import SessionState
from doctrain_coordinator.tracking.worker_orders import WorkerOrders
from doctrain_coordinator.tracking.worker_records import WorkerLoads, WorkerRecords
from doctrain_coordinator.tracking.workers import LiveSession, alarm, live_workers
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Pool, statements
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import forever

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState)
LOOK_SECONDS = 2.0
WRITE_SECONDS = 10.0


def limits_of(settings: Settings) -> HealthLimits:
    """When a worker is not well."""
    return HealthLimits(
        memory_share=settings.health_memory_share,
        disk_free_share=settings.health_disk_free_share,
        loop_lag_seconds=settings.health_loop_lag_seconds,
        failure_share=settings.health_failure_share,
        stuck_seconds=settings.health_stuck_factor * settings.document_total_seconds,
        ill_seconds=settings.health_ill_seconds,
        well_seconds=settings.health_well_seconds,
        out_share=settings.health_out_share,
    )


class HealthWatch:
    """Watches the workers' health; each coordinator has one.

    ``run`` is supervised by the application. ``leads`` tells whether this one judges.
    """

    def __init__(
        self, pool: Pool, records: WorkerRecords, orders: WorkerOrders, changes: Changes, *, limits: HealthLimits, leads: Callable[[], bool]
    ) -> None:
        self._pool, self._records, self._orders, self._changes = pool, records, orders, changes
        self._limits, self._leads = limits, leads
        self._policy = HealthPolicy(limits)
        self._alarmed = False

    async def run(self) -> None:
        """Judges until cancelled."""
        await forever("Judging the workers' health", self._look, expected=UnavailableError)

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        if not self._leads():
            self._policy, self._alarmed = HealthPolicy(self._limits), False
            return
        workers = [worker for worker in await live_workers(self._pool) if worker.newest and not (worker.draining or worker.gone)]
        ordered_out = {order.worker_id for order in await self._orders.list()}
        loads = await self._records.known()
        fleet = [_sight(worker, loads, kept_out=worker.unsubscribed or worker.worker_id in ordered_out) for worker in workers]
        verdicts = self._policy.judge(time.monotonic(), fleet)
        changed = [(sight, verdicts[sight.session]) for sight in fleet if verdicts[sight.session] != sight.standing]
        if changed:
            await self._write({sight.session: verdict for sight, verdict in changed})
        for sight, verdict in changed:
            _tell(sight, verdict)
        self._tell_alarm(alarm([(sight.worker_id, verdicts[sight.session]) for sight in fleet]))

    async def _write(self, verdicts: Mapping[int, Fitness]) -> None:
        rows = [(session, verdict.unfit, verdict.spared) for session, verdict in sorted(verdicts.items())]
        async with postgres.acquired(self._pool, "writing the workers' health", seconds=WRITE_SECONDS) as c:
            await c.executemany(SQL["judge"], rows)
        self._changes.work()

    def _tell_alarm(self, sentence: str) -> None:
        if sentence and not self._alarmed:
            log.warning("%s", sentence)
        self._alarmed = bool(sentence)


def _sight(worker: LiveSession, loads: WorkerLoads, *, kept_out: bool) -> Sight:
    return Sight(worker.worker_id, worker.id, worker.verdict, kept_out, loads.of(worker.worker_id, worker.id))


def _tell(sight: Sight, verdict: Fitness) -> None:
    if verdict.unfit is None:
        log.info("Worker %s is fit again.", sight.worker_id)
    elif verdict.unfit != sight.standing.unfit:
        log.warning("Worker %s is unfit%s: %s", sight.worker_id, ", and works all the same" if verdict.spared else "", verdict.unfit)
    else:
        log.info("Worker %s, which is unfit, %s.", sight.worker_id, "works all the same" if verdict.spared else "takes no new work")
