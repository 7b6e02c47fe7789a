"""What a coordinator says of itself in the registry: under a key of its own, so that what a namesake does changes nothing of it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh.errors import RegistryUnavailableError
from doctrain_mesh.ports import Registry
from doctrain_mesh.registry import membership

log = logging.getLogger(__name__)
LEASE_SECONDS = 10
LAPSED_SECONDS = 1.5 * LEASE_SECONDS
"""After so long nothing is left in the registry of one that died before us."""


@asynccontextmanager
async def registered(registry: Registry, name: str, address: str) -> AsyncIterator[None]:
    """Registers while open, and warns once of another coordinator of that name. A registry that is away stops nothing."""
    folder = f"{membership.COORDINATORS}{name}/"
    ours = folder + secrets.token_hex(4)
    record = json.dumps({"address": address, "name": name}, indent=2).encode()
    registration = await registry.register(ours, record, ttl_seconds=LEASE_SECONDS)
    try:
        async with asyncio.TaskGroup() as group:
            look = group.create_task(_warn_of_namesakes(registry, folder, ours, name), name="look for namesakes")
            try:
                yield
            finally:
                look.cancel()
    finally:
        await registration.close()


async def _warn_of_namesakes(registry: Registry, folder: str, ours: str, name: str) -> None:
    while True:
        await asyncio.sleep(LAPSED_SECONDS)
        try:
            others = (await registry.list(folder)).keys() - {ours}
        except RegistryUnavailableError:
            continue
        if others:
            log.warning("Another coordinator is named %s, too: give each a DOCTRAIN_NAME of its own, or leave it empty.", name)
        return
