"""Wires a coordinator: what it serves, what runs behind it, and in which order it goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from doctrain_coordinator import certificate, metrics
from doctrain_coordinator.certificate import ServerCertificate
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Budgets
from doctrain_coordinator.dispatch.concurrency import ConcurrencyControl, Dependencies, marks_of
from doctrain_coordinator.dispatch.dead_letters import DeadLetters
from doctrain_coordinator.dispatch.dispatcher import Dispatcher
from doctrain_coordinator.dispatch.fleet_measures import FleetMeasures
from doctrain_coordinator.dispatch.leadership import Leadership
from doctrain_coordinator.dispatch.publisher import Publisher
from doctrain_coordinator.dispatch.usage_measures import UsageMeasures
from doctrain_coordinator.registration import registered
from doctrain_coordinator.removal.removals import Kept, Removals
from doctrain_coordinator.removal.tenants import TenantRemoval
from doctrain_coordinator.removal.unnamed_uploads import UnnamedUploads
from doctrain_coordinator.rpc import server as rpc_server
from doctrain_coordinator.rpc.fleet import FleetParts, FleetService
from doctrain_coordinator.rpc.fleet_tenants import TenantParts
from doctrain_coordinator.rpc.search import SearchParts, SearchService
from doctrain_coordinator.rpc.server import Served
from doctrain_coordinator.rpc.tracker import TrackerService
from doctrain_coordinator.rpc.tracker_stream import TrackerParts
from doctrain_coordinator.rpc.training import TrainingParts, TrainingService
from doctrain_coordinator.rpc.training_requests import Limits
from doctrain_coordinator.search.deleting import Deleting
from doctrain_coordinator.search.query_model import QueryModel
from doctrain_coordinator.search.remains import Remains
from doctrain_coordinator.search.searching import CONNECTION_SETTINGS, Searching
from doctrain_coordinator.search.vector_index import VectorIndex
from doctrain_coordinator.store import planning, session_numbers
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.store.migrate import migrate
from doctrain_coordinator.tenants.concurrency import Concurrency
from doctrain_coordinator.tenants.keys import Keys
from doctrain_coordinator.tenants.provisioning import Tenants
from doctrain_coordinator.tenants.uploads import Uploads
from doctrain_coordinator.tenants.usage import Usage
from doctrain_coordinator.tracking.commits import Committer
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.health import HealthWatch, limits_of
from doctrain_coordinator.tracking.heartbeats import Heartbeats
from doctrain_coordinator.tracking.lost_sessions import LostSessions
from doctrain_coordinator.tracking.opened import OpenDocuments
from doctrain_coordinator.tracking.sessions import Sessions
from doctrain_coordinator.tracking.shard_locks import ShardLocks
from doctrain_coordinator.tracking.takeback import TakeBacks
from doctrain_coordinator.tracking.trials import Trials
from doctrain_coordinator.tracking.worker_orders import WorkerOrders
from doctrain_coordinator.tracking.worker_records import WorkerRecords
from doctrain_coordinator.trainings.accepting import Accepting
from doctrain_coordinator.trainings.all_trainings import AllTrainings
from doctrain_coordinator.trainings.control import Control
from doctrain_coordinator.trainings.loaders import Bounds, Loaders
from doctrain_coordinator.trainings.reading import Trainings
from doctrain_coordinator.trainings.retrying import Retrying
from doctrain_coordinator.trainings.starting import Starting
from doctrain_coordinator.trainings.suspending import Suspensions
from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_coordinator.trainings.watchers import WatchHub
from doctrain_mesh import postgres
from doctrain_mesh.documents.sources import Sources
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.ports import Broker, Registry
from doctrain_mesh.postgres import sizes
from doctrain_mesh.settings import Settings

if TYPE_CHECKING:
    from doctrain_coordinator.web.dashboard import Dashboard

log = logging.getLogger(__name__)
END_SECONDS = 3.0
"""So long what runs in the background may take to end; then it is cut off from Postgres, which may be frozen."""
MOVE_SECONDS = 0.5
"""How long a coordinator that drains tells workers and callers to go elsewhere: whom gRPC's own end meets reads CANCELLED."""
LOCKING_IN_BACKGROUND = 2
"""So many of the background's connections lock shards at a time."""
SILENT_BEATS = 3
"""A worker whose last heartbeats are missing is shown as silent."""


@dataclass(frozen=True, slots=True)
class RunningCoordinator:
    """A coordinator that serves tenants and operators, and workers; ``dashboard`` is its URL, empty where there is none."""

    address: str
    address_of_workers: str
    dashboard: str
    keys: Keys
    tenants: Tenants


def check_addresses(settings: Settings) -> None:
    """Raises ConfigurationError when a coordinator could not listen with these settings."""
    rpc_server.check(settings)
    with _dashboard(settings, None):
        pass


@asynccontextmanager
async def running(settings: Settings, *, broker: Broker, registry: Registry) -> AsyncIterator[RunningCoordinator]:
    """Serves while open; at the end workers and watchers are sent elsewhere before the server stops.

    Raises ConfigurationError when it cannot listen with these settings, before anything is changed, and StoreUnavailableError when
    Postgres is away at the start; later it is waited for.
    """
    served_with = certificate.opened(settings)
    rpc_server.check(settings)
    async with AsyncExitStack() as stack:
        page = stack.enter_context(_dashboard(settings, served_with))
        await migrate(settings.database_url)
        held = await _Held.open(settings, stack)
        await session_numbers.go_on_from_now(held.api)
        loops = await stack.enter_async_context(asyncio.TaskGroup())
        coordinator = _Coordinator(settings, held, broker, registry, loops, page=page, served_with=served_with)
        stack.callback(coordinator.end)
        stack.enter_context(coordinator.measured())
        coordinator.start()
        served = await stack.enter_async_context(coordinator.serving())
        yield RunningCoordinator(served.address, served.address_of_workers, page.url if page else "", coordinator.keys, coordinator.tenants)


@contextmanager
def _dashboard(settings: Settings, served_with: ServerCertificate | None) -> Iterator[Dashboard | None]:
    """It has its address and is not served yet; None where none is wanted. Raises ConfigurationError."""
    if not settings.dashboard_listen:
        yield None
        return
    from doctrain_coordinator.web import dashboard  # its library of HTTP costs a fifth of a start

    with dashboard.opened(settings.dashboard_listen, served_with) as page:
        yield page


@dataclass(frozen=True, slots=True)
class _Held:
    """What is open as long as a coordinator runs; what each pool is for is told in ``doctrain_mesh.postgres.sizes``."""

    database: Database
    heartbeats: postgres.Pool
    tracker: postgres.Pool
    api: postgres.Pool
    views: postgres.Pool
    watches: postgres.Pool
    search: postgres.Pool
    background: postgres.Pool
    sources: Sources
    model: QueryModel

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack) -> _Held:
        """Opens all; ``stack`` closes it."""
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)

        async def pool(name: str, size: int, options: Mapping[str, str] | None = None) -> postgres.Pool:
            made = await database.create_pool(size=size, name=f"doctrain {name}", settings=options)
            stack.enter_context(postgres.measured(made, name))
            return made

        model = QueryModel(lambda: open_embedder(settings))
        stack.push_async_callback(model.close)
        return cls(
            database,
            await pool("heartbeats", sizes.HEARTBEATS),
            await pool("tracker", sizes.TRACKER),
            await pool("api", sizes.CALLS),
            await pool("views", sizes.VIEWS, planning.ONCE),
            await pool("watches", sizes.WATCHES),
            await pool("search", sizes.SEARCHES, CONNECTION_SETTINGS),
            await pool("background", sizes.BACKGROUND),
            stack.enter_context(Sources.of(settings)),
            model,
        )


class _Coordinator:
    def __init__(
        self,
        settings: Settings,
        held: _Held,
        broker: Broker,
        registry: Registry,
        loops: asyncio.TaskGroup,
        *,
        page: Dashboard | None,
        served_with: ServerCertificate | None,
    ) -> None:
        self._settings, self._registry, self._loops, self._page, self._database = settings, registry, loops, page, held.database
        self._tasks: list[asyncio.Task[None]] = []
        self._asides: set[asyncio.Task[None]] = set()
        database = held.database
        changes = Changes(database)
        sources, blobs = held.sources, held.sources.blobs
        budgets = Budgets(settings.loss_before_trial, settings.losses_on_trial)
        locks, tenants_locks = ShardLocks(held.tracker), ShardLocks(held.api)
        background, background_locks = held.background, ShardLocks(held.background, at_once=LOCKING_IN_BACKGROUND)
        lost = LostSessions(held.tracker, TakeBacks(locks, changes, budgets), self._spawn, before_trial=budgets.before_trial)
        handbacks = HandBacks(locks, changes)
        self._publisher = publisher = Publisher(broker)
        committer = Committer(database, changes)
        heartbeats = Heartbeats(held.heartbeats, handbacks)
        bounds = Bounds(settings.max_manifest_documents, settings.load_patience_seconds)
        loaders = Loaders(database, background_locks, changes, sources=sources, bounds=bounds)
        accepting = Accepting(held.api, changes, loaders)
        silent_seconds = SILENT_BEATS * settings.beat_seconds
        trainings = Trainings(held.views, lease_seconds=settings.lease_seconds, silent_seconds=silent_seconds)
        dispatcher = Dispatcher(changes, publisher, lost, self._spawn, lease_seconds=settings.lease_seconds, lane_slots=settings.lane_slots)
        self.keys, self.tenants = Keys(held.tracker, held.api), Tenants(held.api)
        control, own_control = Control(tenants_locks, changes), Control(background_locks, changes)
        suspensions, usage, uploads = Suspensions(background, own_control), Usage(held.api), Uploads(held.api, blobs)
        kept = Kept(settings.keep_trainings_days, settings.keep_uploads_days, settings.keep_audit_days, settings.keep_slices_days)
        removals = Removals(database, TenantRemoval(own_control, blobs), blobs, kept)
        self._leadership = leadership = Leadership(database, dispatcher.lead)
        self._fleet = FleetMeasures(background, broker, lambda: leadership.leading, silent_seconds=silent_seconds)
        self._usage = UsageMeasures(background, lambda: leadership.leading)
        self._hub = WatchHub(trainings, changes)
        limits = Limits(
            settings.max_request_bytes, settings.max_request_documents, settings.max_document_bytes, settings.max_manifest_documents
        )
        self._tracker = TrackerService(
            TrackerParts(
                committer=committer,
                heartbeats=heartbeats,
                sessions=Sessions(held.tracker, lost, changes, lease_seconds=settings.lease_seconds),
                handbacks=handbacks,
                trials=Trials(held.tracker),
                open_documents=OpenDocuments(held.tracker),
                spawn=self._spawn,
                lease_seconds=settings.lease_seconds,
                beat_seconds=settings.beat_seconds,
            )
        )
        training = TrainingService(
            TrainingParts(
                pool=held.api,
                reads=WatchReads(held.watches),
                trainings=trainings,
                starting=Starting(accepting, sources, uploads, most_documents=settings.max_manifest_documents),
                retrying=Retrying(held.api, accepting),
                control=control,
                hub=self._hub,
                uploads=uploads,
                unnamed=UnnamedUploads(held.api, blobs),
                uris=sources.rules,
                limits=limits,
                broker=broker,
                usage=usage,
                heartbeat_seconds=settings.watch_heartbeat_seconds,
            )
        )
        deleting = Deleting(held.api, trainings, Remains(held.api, blobs))
        search = SearchService(SearchParts(Searching(held.search, held.model), deleting))
        records = WorkerRecords(registry)
        health = HealthWatch(
            background,
            records,
            WorkerOrders(background, changes),
            changes,
            limits=limits_of(settings),
            leads=lambda: leadership.leading,
        )
        dependencies = Dependencies(lambda: committer.latency_seconds, lambda: publisher.latency_seconds)
        bursts = ConcurrencyControl(
            background,
            records,
            changes,
            dependencies,
            marks=marks_of(settings),
            lane_slots=settings.lane_slots,
            leads=lambda: leadership.leading,
        )
        fleet = FleetService(
            FleetParts(
                pool=held.api,
                all_trainings=AllTrainings(held.api, trainings),
                tenants=TenantParts(held.api, self.tenants, self.keys, suspensions, usage, changes),
                broker=broker,
                records=records,
                dead_letters=DeadLetters(held.api, broker),
                orders=WorkerOrders(held.api, changes),
                concurrency=Concurrency(held.api, changes),
                silent_seconds=silent_seconds,
                drain_seconds=settings.drain_seconds,
            )
        )
        self._served = rpc_server.build(
            settings,
            self.keys,
            served_with,
            training=training,
            search=search,
            fleet=fleet,
            tracker=self._tracker,
            pool=held.api,
            within=page.services if page else "",
        )
        self._background: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "database": partial(database.watch, background),
            "changes": changes.run,
            "commits": committer.run,
            "heartbeats": heartbeats.run,
            "publisher": publisher.run,
            "loads": loaders.run,
            "dead letters": DeadLetters(background, broker).run,
            "watch hub": self._hub.run,
            "leadership": leadership.run,
            "health": health.run,
            "concurrency": bursts.run,
            "suspensions": suspensions.run,
            "usage": Usage(background).run,
            "removals": removals.run,
            "remains of documents": Remains(background, blobs).run,
            "vector index": VectorIndex(database, held.model).run,
        }
        if settings.metrics_listen:
            self._background |= {"fleet measures": self._fleet.run, "usage measures": self._usage.run}

    def start(self) -> None:
        """Starts what runs in the background; it ends with ``end``."""
        self._tasks = [self._loops.create_task(loop(), name=name) for name, loop in self._background.items()]

    @contextmanager
    def measured(self) -> Iterator[None]:
        """The gauges read from this coordinator, while open."""
        with (
            metrics.PUBLISHER_QUEUE.reading(lambda: [(self._publisher.unconfirmed, ())]),
            metrics.LEADING.reading(lambda: [(int(self._leadership.leading), ())]),
            self._fleet.told(),
            self._usage.told(),
        ):
            yield

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loops.create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        """Listens, tells the registry, and at the end drains."""
        async with AsyncExitStack() as leaving:
            leaving.push_async_callback(self._served.server.stop, None)
            await self._served.server.start()
            if self._page is not None:
                await leaving.enter_async_context(self._page.serving())
            leaving.push_async_callback(self._drain)
            await leaving.enter_async_context(registered(self._registry, self._settings.process_name, self._served.address_of_workers))
            await self._served.ready()
            yield self._served

    async def _drain(self) -> None:
        log.info("This coordinator drains: its workers and watchers are sent elsewhere.")
        await self._served.leaving()
        self._tracker.drain()
        self._hub.close()
        await asyncio.sleep(MOVE_SECONDS)
        self._tracker.cut()
        await self._served.server.stop(self._settings.drain_seconds / 2)
        log.info("This coordinator has drained and serves no more.")

    def end(self) -> None:
        """Ends what runs in the background."""
        self._database.cut_after(END_SECONDS)
        for task in (*self._tasks, *self._asides):
            task.cancel()
