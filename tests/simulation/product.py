"""The product's own modules over simulated surroundings: their clocks, draws, connections and channels are the simulation's."""

from __future__ import annotations

import random
import sys
import time
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

import pytest

import doctrain_coordinator.app
import doctrain_worker.app
from doctrain_coordinator.core import sharding
from doctrain_coordinator.rpc import server
from doctrain_coordinator.rpc.tracker import TrackerService
from doctrain_coordinator.rpc.training import TrainingService
from doctrain_coordinator.store import session_numbers
from doctrain_coordinator.store.database import Database
from doctrain_coordinator.trainings import chunks
from doctrain_mesh import postgres
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.observability.outage import Outage
from doctrain_mesh.postgres import connections
from doctrain_mesh.settings import Settings
from doctrain_worker.shards.setup import ShardSetup
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.tracker import Tracker
from simulation.network import Network
from simulation.store.server import StoreServer
from simulation.store.tables import EPOCH
from simulation.virtual_loop import PROCESS, Process, VirtualLoop, virtual_loop

CHUNK = 12
SMALLEST = 4


class _Clock(types.ModuleType):
    """In place of the module ``time``."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__("time")
        self.monotonic = loop.time
        self.time = lambda: EPOCH + loop.time()
        self.time_ns = lambda: int((EPOCH + loop.time()) * 1e9)


class _Datetime(datetime):
    """Knows the virtual time of day."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.fromtimestamp(EPOCH + virtual_loop().time(), tz)


class _Served:
    """In place of a gRPC server: the tracker is on the network, the rest is called directly."""

    def __init__(self, network: Network, address: str, training: TrainingService, tracker: TrackerService) -> None:
        self._network, self._address = network, address
        self.address = self.address_of_workers = address
        self.training, self.tracker, self.server = training, tracker, self
        self._process: Process | None = None

    async def start(self) -> None:
        process = PROCESS.get()
        assert process is not None
        self._process, process.serves = process, self.training
        self._network.listen(self._address, process, self.tracker.Track)

    async def stop(self, grace: float) -> None:
        if self._process is not None and self._process.alive:  # what a dead process unwinds is nobody's affair
            self._network.close(self._address)

    async def ready(self) -> None:
        """Nobody asks."""

    leaving = ready


class _Sources:
    """In place of all places that documents are read from."""

    def __init__(self, settings: Settings) -> None:
        self.blobs, self.rules = _Blobs(), UriRules(file_root=settings.file_root, blob_url=settings.blob_url)

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[_Sources]:
        yield cls(settings)


class _Blobs:
    """Documents are never read, and none is sent along."""

    artifacts = None

    async def put_many(self, _tenant: str, contents: Sequence[bytes], _admit: object) -> list[str]:
        assert not contents
        return []


class _Idle:
    """What nothing of a training depends on."""

    async def run(self) -> None:
        await virtual_loop().create_future()


def _idle(patch: pytest.MonkeyPatch, module: Any, names: Sequence[str]) -> None:
    for name in names:
        patch.setattr(module, name, lambda *_, **__: _Idle())


class _Database(Database):
    """One that is never restored."""

    async def watch(self, _pool: Any) -> None:
        await virtual_loop().create_future()

    async def _look(self, _connection: Any) -> None:
        return


async def _ready(_store: Any) -> None:
    """The tables are there, and no number is given out twice."""


@contextmanager
def simulated(loop: VirtualLoop, seed: int, store: StoreServer, network: Network) -> Iterator[None]:
    """While open, what of the product is started on the loop is a part of the simulation."""

    def serve(
        settings: Any, _keys: Any, _certificate: Any, *, training: TrainingService, tracker: TrackerService, **_others: Any
    ) -> _Served:
        return _Served(network, settings.advertise, training, tracker)

    async def unregistered(*_: Any, **__: Any) -> None:
        """Workers in the registry are for operators' eyes."""
        await virtual_loop().create_future()

    class Channels(Coordinators):
        def channel(self, address: str) -> Any:
            process = PROCESS.get()
            assert process is not None
            return network.channel(process.name, address)

    clock, state = _Clock(loop), random.getstate()
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in tuple(sys.modules.items()):
            if name.startswith("doctrain_"):
                for attribute, value in (("time", time), ("datetime", datetime)):
                    if getattr(module, attribute, None) is value:
                        patch.setattr(module, attribute, clock if value is time else _Datetime)
        patch.setattr(connections, "OUTAGE", Outage("Postgres", loop.time))  # else a run would begin with what the one before left
        patch.setattr(postgres, "connect", store.connect)
        patch.setattr(postgres, "create_pool", store.create_pool)
        coordinator, worker = doctrain_coordinator.app, doctrain_worker.app
        patch.setattr(coordinator, "Database", _Database)
        patch.setattr(coordinator, "migrate", _ready)
        patch.setattr(session_numbers, "go_on_from_now", _ready)
        patch.setattr(server, "build", serve)
        patch.setattr(server, "check", lambda _settings: None)
        patch.setattr(coordinator, "Sources", _Sources)
        # No worker says anything of itself.
        others = "VectorIndex", "Suspensions", "Usage", "Removals", "Remains", "HealthWatch", "ConcurrencyControl"
        _idle(patch, coordinator, others)
        patch.setattr(worker, "Coordinators", Channels)
        patch.setattr(worker, "keep_registered", unregistered)
        patch.setattr(worker, "Tracker", partial(Tracker, clock=loop.time))
        patch.setattr(worker, "ShardSetup", partial(ShardSetup, clock=loop.time, draw=random.random))
        for size in ("FIRST", "MOST"):
            patch.setattr(chunks, size, CHUNK)
        patch.setattr(sharding, "SMALLEST", SMALLEST)
        try:
            yield
        finally:
            random.setstate(state)
