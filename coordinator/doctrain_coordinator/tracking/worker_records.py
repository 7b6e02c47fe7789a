"""What the workers say of themselves in the registry."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from doctrain_coordinator.core import load
from doctrain_coordinator.core.load import Load
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.ports import Registry
from doctrain_mesh.registry import membership
from doctrain_mesh.supervise import deadline

log = logging.getLogger(__name__)
READ_SECONDS = 2.0


class WorkerLoads:
    """The good records, by the names of their workers."""

    def __init__(self, found: Mapping[str, Load]) -> None:
        self._found = found

    def named(self, worker_id: str) -> Load | None:
        """What the worker says of itself, which its present boot may have said before it had its session."""
        return self._found.get(worker_id)

    def of(self, worker_id: str, session: int) -> Load | None:
        """What the worker says of itself in that session; None for one whose record is of another session, as of another boot."""
        load = self._found.get(worker_id)
        return load if load is not None and load.session == session else None


class WorkerRecords:
    """The records that workers keep in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reader = membership.Reader()

    async def read(self) -> WorkerLoads:
        """All that are there. Raises RegistryUnavailableError, OperationTimeoutError."""
        async with deadline("Reading the registry", READ_SECONDS):
            listed = await self._registry.list(membership.WORKERS)
        found = {key.removeprefix(membership.WORKERS): self._reader.read(key, value, membership.facts) for key, value in listed.items()}
        return WorkerLoads({name: load.read(said) for name, said in found.items() if said is not None})

    async def known(self) -> WorkerLoads:
        """All that are there; none while the registry does not answer."""
        try:
            return await self.read()
        except UnavailableError as error:
            log.debug("How loaded the workers are is not known: %s", error)
            return WorkerLoads({})
