"""Coordinators and leaders that die, freeze, or are restarted one after the other."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

import asyncpg
import psutil

from chaos.away import AWAY
from chaos.faults.fault import Fault
from chaos.fleet import Post, send

LEADER_LOCK_SECONDS = 6.0
_LEADER = """
select client_port from pg_stat_activity join pg_locks using (pid)
where application_name = 'doctrain leader' and locktype = 'advisory' and granted
"""


class _OfACoordinator(Fault):
    async def victim(self) -> Post:
        while True:
            ready = [post for post in self.world.fleet.coordinators if post.ready.is_set() and post.top is not None]
            if ready:
                return self.draw.choice(ready)
            await asyncio.sleep(0.2)

    async def leader(self) -> Post:
        """The coordinator that holds the lock."""
        while True:
            try:
                connection = await asyncpg.connect(self.world.database, timeout=5)
                try:
                    port = await connection.fetchval(_LEADER, timeout=5)
                finally:
                    connection.terminate()
            except AWAY:
                port = None
            owner = self.world.fleet.owner_of(port) if port else ""
            if owner:
                return self.world.fleet.posts[owner]
            await asyncio.sleep(0.2)


class Killed(_OfACoordinator):
    """SIGKILL; the orchestrator starts it again."""

    name = "coordinator killed"

    async def inject(self) -> str:
        victim = await self.victim()
        victim.ordered = True
        send(signal.SIGKILL, victim.top)
        return victim.name


class LeaderKilled(_OfACoordinator):
    """SIGKILL to the one that leads."""

    name = "leader killed"

    async def inject(self) -> str:
        victim = await self.leader()
        victim.ordered = True
        send(signal.SIGKILL, victim.top)
        return victim.name


class LeaderFrozen(_OfACoordinator):
    """SIGSTOP to the leader for longer than its lock's timeout: there is another by the time it wakes."""

    name = "leader frozen past its lock"
    seconds: ClassVar[tuple[float, float]] = (LEADER_LOCK_SECONDS + 0.5, LEADER_LOCK_SECONDS + 3.0)
    to_heal = True
    _frozen: psutil.Process | None = None

    async def inject(self) -> str:
        victim = await self.leader()
        self._frozen = victim.top
        send(signal.SIGSTOP, self._frozen)
        return victim.name

    async def heal(self) -> None:
        send(signal.SIGCONT, self._frozen)


class RollingRestart(_OfACoordinator):
    """SIGTERM to each in turn, the next when the one before serves again."""

    name = "coordinators restarted in turn"
    to_heal = True

    async def inject(self) -> str:
        for post in self.world.fleet.coordinators:
            await _ready(post, 20)
            post.ordered, boots = True, post.boots
            send(signal.SIGTERM, post.top)
            async with asyncio.timeout(40):
                while post.boots == boots:
                    await asyncio.sleep(0.1)
        return "all"


async def _ready(post: Post, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await post.ready.wait()


FAULTS = (Killed, LeaderKilled, LeaderFrozen, RollingRestart)
