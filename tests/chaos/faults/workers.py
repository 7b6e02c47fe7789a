"""Workers that die in parts or whole, freeze, or are asked to go."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

import psutil

from chaos.faults.fault import Fault
from chaos.fleet import Post, send
from chaos.world import LEASE_SECONDS


class _OfAWorker(Fault):
    async def victim(self) -> Post:
        """A worker that runs and has children."""
        while True:
            ready = [post for post in self.world.fleet.workers if post.ready.is_set() and post.main is not None and post.children]
            if ready:
                return self.draw.choice(ready)
            await asyncio.sleep(0.2)


class MainKilled(_OfAWorker):
    """SIGKILL to the main process; its guardian starts it again."""

    name = "worker main process killed"

    async def inject(self) -> str:
        victim = await self.victim()
        send(signal.SIGKILL, victim.main)
        return victim.name


class TreeKilled(_OfAWorker):
    """SIGKILL to all of a worker at once, as when its machine dies; the orchestrator starts it again."""

    name = "worker killed whole"

    async def inject(self) -> str:
        victim = await self.victim()
        victim.ordered = True
        send(signal.SIGKILL, *victim.tree)
        return victim.name


class GuardianKilled(_OfAWorker):
    """SIGKILL to the guardian; the kernel kills its children, and its main process must end by itself."""

    name = "guardian killed"

    async def inject(self) -> str:
        victim = await self.victim()
        victim.ordered = True
        main = victim.main
        send(signal.SIGKILL, victim.top)
        self.world.journal.write("orphans", part=victim.name, pid=main.pid if main else 0)
        return victim.name


class ChildKilled(_OfAWorker):
    """SIGKILL to one child; the document in it is told from an innocent one by nobody, and fails."""

    name = "child killed"

    async def inject(self) -> str:
        victim = await self.victim()
        child = self.draw.choice(victim.children or [victim.tree[-1]])
        send(signal.SIGKILL, child)
        self.world.journal.write("killed_children", part=victim.name, pid=child.pid)
        return victim.name


class _Frozen(_OfAWorker):
    seconds: ClassVar[tuple[float, float]] = (LEASE_SECONDS + 2.0, LEASE_SECONDS + 8.0)
    to_heal = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._frozen: list[psutil.Process] = []

    async def heal(self) -> None:
        send(signal.SIGCONT, *self._frozen)


class MainFrozen(_Frozen):
    """SIGSTOP to the main process for longer than its lease; its guardian must kill the children meanwhile."""

    name = "worker main process frozen past its lease"

    async def inject(self) -> str:
        victim = await self.victim()
        self._frozen = [process for process in [victim.main] if process is not None]
        send(signal.SIGSTOP, *self._frozen)
        return victim.name


class TreeFrozen(_Frozen):
    """SIGSTOP to all of a worker, as when its machine is suspended; nothing of it may go on when it wakes."""

    name = "worker frozen whole past its lease"

    async def inject(self) -> str:
        victim = await self.victim()
        self._frozen = victim.tree
        send(signal.SIGSTOP, *self._frozen)
        return victim.name


class Drained(_OfAWorker):
    """SIGTERM; it hands its shards back, and the orchestrator starts it again."""

    name = "worker drained and restarted"

    async def inject(self) -> str:
        victim = await self.victim()
        victim.ordered = True
        send(signal.SIGTERM, victim.top)
        return victim.name


FAULTS = (MainKilled, TreeKilled, GuardianKilled, ChildKilled, MainFrozen, TreeFrozen, Drained)
