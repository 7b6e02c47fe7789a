"""The registry within one process: what etcd does for doctrain. A key lasts until its registration is closed.

There are no leases: who shares this object shares its process, so none of them can be lost alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Change, Registration


class MemoryRegistry:
    """All that use it share the object."""

    def __init__(self) -> None:
        self._owners: dict[str, _MemoryRegistration] = {}
        self._values: dict[str, bytes] = {}
        self._watchers: set[asyncio.Queue[Change]] = set()
        self._open = True

    async def register(self, key: str, value: bytes, ttl_seconds: int) -> Registration:
        self._check_open()
        registration = self._owners[key] = _MemoryRegistration(self, key)
        self.put(registration, key, value)
        return registration

    async def list(self, prefix: str) -> dict[str, bytes]:
        self._check_open()
        return {key: value for key, value in self._values.items() if key.startswith(prefix)}

    async def watch(self, prefix: str) -> AsyncGenerator[Change, None]:
        self._check_open()
        changes: asyncio.Queue[Change] = asyncio.Queue()
        for key, value in self._values.items():
            changes.put_nowait(Change(key, value))
        self._watchers.add(changes)
        try:
            while True:
                change = await changes.get()
                if change.key.startswith(prefix):
                    yield change
        finally:
            self._watchers.discard(changes)

    async def close(self) -> None:
        self._open = False
        for key, owner in list(self._owners.items()):
            self.remove(owner, key)

    def put(self, owner: _MemoryRegistration, key: str, value: bytes) -> None:
        """Does nothing for a registration that was closed or superseded."""
        if self._owners.get(key) is owner and self._values.get(key) != value:
            self._values[key] = value
            self._tell(Change(key, value))

    def remove(self, owner: _MemoryRegistration, key: str) -> None:
        """Takes a key away; does nothing for a registration that does not own it."""
        if self._owners.get(key) is owner:
            del self._owners[key], self._values[key]
            self._tell(Change(key, None))

    def _tell(self, change: Change) -> None:
        for changes in self._watchers:
            changes.put_nowait(change)

    def _check_open(self) -> None:
        if not self._open:
            raise RegistryUnavailableError("The registry was closed by this process.")


class _MemoryRegistration:
    def __init__(self, registry: MemoryRegistry, key: str) -> None:
        self._registry = registry
        self._key = key
        self._loop = asyncio.get_running_loop()

    def update(self, value: bytes) -> None:
        self._loop.call_soon_threadsafe(self._registry.put, self, self._key, value)

    async def close(self) -> None:
        self._registry.remove(self, self._key)
