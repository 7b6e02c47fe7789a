"""Wires a worker's main process: consumer, holds, session, registration, and the order in which it goes away."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from doctrain_mesh import credentials
from doctrain_mesh.observability.metrics import Reading
from doctrain_mesh.ports import Broker, Consumer, Registry
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_worker import metrics
from doctrain_worker.core.retry import RetryPolicy
from doctrain_worker.core.tally import Tally
from doctrain_worker.pipeline.processor import ErrorClass, Processor
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.shards import executions
from doctrain_worker.shards.holds import Holds
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.intake import Intake
from doctrain_worker.tracking.lifetime import Identity
from doctrain_worker.tracking.registration import keep_registered
from doctrain_worker.tracking.session import Session
from doctrain_worker.tracking.tracker import Tracker

log = logging.getLogger(__name__)
GOODBYE_SECONDS = 3.0
CONSUMER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A worker; ``session.opened`` tells when it has a session."""

    worker_id: str
    session: Session
    holds: Holds


@asynccontextmanager
async def running(
    settings: Settings, *, broker: Broker, registry: Registry, guardian: Guardian, processor: Processor, version: str
) -> AsyncIterator[Running]:
    """Works while open; at the end it drains. Ready at once: a session opens as soon as there is a coordinator."""
    worker_id = settings.process_name
    tracker, gate, intake, tally = Tracker(), Gate(), Intake(), Tally()
    coordinators = Coordinators(settings.coordinators, credentials.for_coordinators(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(coordinators.close)
        setup = ShardSetup(
            tracker=tracker,
            gate=gate,
            processor=stack.enter_context(executions.logged(processor, settings.execution_log, worker_id)),
            retries={
                ErrorClass.TRANSIENT: RetryPolicy(settings.max_tries),
                ErrorClass.RESOURCE: RetryPolicy(settings.resource_tries, base=0.0),
                ErrorClass.CRASH: RetryPolicy(settings.crash_tries, base=0.0),
            },
            hold_seconds=settings.hold_seconds,
            tally=tally,
        )
        identity = Identity(worker_id, settings.worker_key, settings.lanes, version, settings.fence_margin_seconds)
        session = Session(identity, coordinators, guardian, tracker, gate=gate, intake=intake)
        holds = Holds(setup, session, settings.lanes, worker_id, settings.trace_documents)

        def facts() -> dict[str, Any]:
            return {
                "session": session.id,
                "version": version,
                "lanes": settings.lanes,
                "lanes_in_use": holds.lanes_in_use,
                "slots_in_use": holds.slots_in_use,
                "documents_running": gate.running,
                "draining": holds.draining,
            }

        stack.enter_context(_measured(worker_id, settings.lanes, holds, session, tracker))
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(guardian.wait_lost(), name="guardian"),
                loops.create_task(coordinators.follow(registry), name="coordinators"),
                loops.create_task(session.run(holds), name="session"),
                loops.create_task(
                    keep_registered(registry, worker_id, facts, tally=tally, guardian_pid=guardian.pid, folders=_written_folders(settings)),
                    name="registration",
                ),
            ]
            consumer = loops.create_task(_consume(broker, 2 * settings.lanes, holds, intake, loops), name="consumer")
            yield Running(worker_id, session, holds)
            log.info("%s drains: it takes no more shards; %d are under way.", worker_id, holds.lanes_in_use)
            consumer.cancel()
            await holds.drain(settings.drain_seconds)
            async with deadline("Leaving the broker", CONSUMER_SECONDS):
                await asyncio.wait({consumer})
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await session.goodbye("the worker goes away")
            log.info("%s has drained.", worker_id)
            for task in tasks:
                task.cancel()


@contextmanager
def _measured(worker: str, lanes: int, holds: Holds, session: Session, tracker: Tracker) -> Iterator[None]:
    def silence() -> list[Reading]:
        seconds = session.silence_seconds
        return [] if seconds is None else [(seconds, (worker,))]

    with (
        metrics.LANES.reading(lambda: [(holds.lanes_in_use, (worker, "used")), (lanes - holds.lanes_in_use, (worker, "free"))]),
        metrics.SLOTS.reading(lambda: [(holds.slots_in_use, (worker,))]),
        metrics.BLOCKS_UNANSWERED.reading(lambda: [(tracker.unanswered, (worker,))]),
        metrics.SILENCE.reading(silence),
    ):
        yield


def _written_folders(settings: Settings) -> list[Path]:
    """Where a worker of these settings writes on its own disks."""
    blobs = urlsplit(settings.blob_url)
    return [Path(tempfile.gettempdir()), *([Path(unquote(blobs.path))] if blobs.scheme == "file" else [])]


async def _consume(broker: Broker, prefetch: int, holds: Holds, intake: Intake, shards: asyncio.TaskGroup) -> None:
    """Takes deliveries while the intake is open, until cancelled.

    What is unacked at the end of either goes back to the queue, for others: of what runs here they hear NOT_YOURS.
    """
    while True:
        await intake.opened.wait()
        async with broker.consume(prefetch) as consumer:
            await intake.while_open(consumer, partial(_take, holds, shards))


async def _take(holds: Holds, shards: asyncio.TaskGroup, consumer: Consumer) -> None:
    async for delivery in consumer:
        await holds.take(delivery, shards)
