"""Postgres killed, frozen, and out of disk."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import asyncpg

from chaos.away import AWAY
from chaos.faults.fault import Fault
from chaos.world import World

log = logging.getLogger(__name__)


class Killed(Fault):
    """SIGKILL to the postmaster and every backend; started again at once, through crash recovery."""

    name = "Postgres killed and restarted"
    server = "Postgres"
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.postgres.kill)
        return "Postgres"

    async def heal(self) -> None:
        await self.world.postgres.restart()


class Frozen(Fault):
    """SIGSTOP to all of it: connections stay open, locks stay held, nothing answers."""

    name = "Postgres frozen"
    server = "Postgres"
    seconds: ClassVar[tuple[float, float]] = (2.0, 9.0)
    to_heal = True

    async def inject(self) -> str:
        await asyncio.to_thread(self.world.postgres.freeze)
        return "Postgres"

    async def heal(self) -> None:
        self.world.postgres.thaw()


class Full(Fault):
    """Its file system is filled to the last byte; an operator frees it, and starts the server again should it have ended."""

    name = "Postgres out of disk"
    server = "Postgres"
    seconds: ClassVar[tuple[float, float]] = (3.0, 6.0)
    to_heal = True

    @classmethod
    def impossible(cls, world: World) -> str:
        return world.disk.impossible

    async def inject(self) -> str:
        taken = await asyncio.to_thread(self.world.disk.fill)
        return f"{taken >> 20} MiB taken; {await self._proof()}"

    async def heal(self) -> None:
        self.world.disk.free()
        await asyncio.to_thread(self.world.postgres.ensure_started)

    async def _proof(self) -> str:
        """What the server itself says when it is to write a new file."""
        try:
            connection = await asyncpg.connect(self.world.database, timeout=5)
            try:
                await connection.execute("create table chaos_full as select generate_series(1, 100000)", timeout=5)
                await connection.execute("drop table chaos_full", timeout=5)
            finally:
                connection.terminate()
        except AWAY as error:
            return f"it says {type(error).__name__}"
        return "it found room in its own files"


FAULTS = (Killed, Frozen, Full)
