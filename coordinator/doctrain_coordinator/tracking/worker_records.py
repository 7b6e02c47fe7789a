"""What the workers say of themselves in the registry."""

from __future__ import annotations

from collections.abc import Mapping

from doctrain_coordinator.core import load
from doctrain_coordinator.core.load import Load
from doctrain_coordinator.tracking.workers import LiveSession
from doctrain_mesh.ports import Registry
from doctrain_mesh.registry import membership
from doctrain_mesh.supervise import deadline

READ_SECONDS = 2.0


class WorkerRecords:
    """Raises RegistryUnavailableError and OperationTimeoutError; whoever asks goes on without."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reader = membership.Reader()

    async def read(self) -> Mapping[str, Load]:
        """The record of each worker's name that has a good one."""
        async with deadline("Reading the registry", READ_SECONDS):
            listed = await self._registry.list(membership.WORKERS)
        found = {key.removeprefix(membership.WORKERS): self._reader.read(key, value, membership.facts) for key, value in listed.items()}
        return {name: load.read(said) for name, said in found.items() if said is not None}


def of_session(session: LiveSession, records: Mapping[str, Load]) -> Load | None:
    """What the worker of a session says of itself, which is said by its present boot."""
    return records.get(session.worker_id) if session.newest else None
