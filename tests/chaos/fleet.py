"""The parts of the mesh and their orchestrator: what ends is started again, as systemd or Kubernetes would."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from chaos.journal import Journal
from testkit.mesh import Mesh, Part
from testkit.processes import below, holds, sockets_of_port, words

RESTART_SECONDS = 0.3


@dataclass
class Post:
    """A place in the fleet that is always to be filled; ``ordered`` while its end is the nemesis's doing."""

    name: str
    kind: str
    settings: Callable[[], Mapping[str, str]]
    part: Part | None = None
    ordered: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    boots: int = 0

    @property
    def top(self) -> psutil.Process | None:
        """The process that was started: a worker's guardian, a coordinator."""
        if self.part is None or self.part.process.returncode is not None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.part.process.pid)
        return None

    @property
    def main(self) -> psutil.Process | None:
        """A worker's main process; a coordinator's own."""
        top = self.top
        if top is None or self.kind == "coordinator":
            return top
        return next((process for process in below(top.pid) if "worker-main" in words(process)), None)

    @property
    def children(self) -> list[psutil.Process]:
        """A worker's children."""
        top = self.top
        return [] if top is None else [process for process in below(top.pid) if "doctrain_worker.sandbox.child" in words(process)]

    @property
    def tree(self) -> list[psutil.Process]:
        """All of its processes, the first one first."""
        top = self.top
        return [] if top is None else [top, *below(top.pid)]


class Fleet:
    """Every post, kept filled while open."""

    def __init__(self, mesh: Mesh, journal: Journal) -> None:
        self._mesh, self._journal = mesh, journal
        self.posts: dict[str, Post] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._mains: dict[int, str] = {}

    @property
    def workers(self) -> list[Post]:
        return [post for post in self.posts.values() if post.kind == "worker"]

    @property
    def coordinators(self) -> list[Post]:
        return [post for post in self.posts.values() if post.kind == "coordinator"]

    def add(self, kind: str, name: str, settings: Callable[[], Mapping[str, str]]) -> None:
        """Fills a new post from now on; ``settings`` is asked at each start."""
        post = self.posts[name] = Post(name, kind, settings)
        self._tasks.append(asyncio.create_task(self._keep(post), name=name))

    async def whole(self, seconds: float) -> bool:
        """Waits until every post is filled and ready; False when that took too long."""
        try:
            async with asyncio.timeout(seconds):
                for post in self.posts.values():
                    await post.ready.wait()
        except TimeoutError:
            return False
        return True

    def owner_of(self, port: int) -> str:
        """Which part's process has that local port, one that is still starting included. For any thread."""
        sockets = sockets_of_port(port)
        if not sockets:
            return ""  # whoever connected gave up meanwhile
        known = self._mains
        for pid, name in known.items():
            if holds(pid, sockets):
                return name
        self._mains = {process.pid: name for process in below(os.getpid()) if (name := _name(process))}
        return next((name for pid, name in self._mains.items() if pid not in known and holds(pid, sockets)), "")

    async def close(self) -> dict[str, int | None]:
        """Asks every part to go, workers first; answers how each ended, None for one that had to be killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ends: dict[str, int | None] = {}
        for posts in (self.workers, self.coordinators):
            ends |= dict(zip((p.name for p in posts), await asyncio.gather(*map(_end, posts)), strict=True))
        return ends

    async def _keep(self, post: Post) -> None:
        while True:
            started = await self._start(post)
            if started is None:
                await asyncio.sleep(RESTART_SECONDS)
                continue
            post.part = started
            post.boots += 1
            self._journal.write("boots", part=post.name, boot=post.boots, pid=started.process.pid)
            post.ready.set()
            code = await started.process.wait()
            post.ready.clear()
            self._journal.write("exits", part=post.name, boot=post.boots, code=code, ordered=post.ordered)
            post.ordered = False
            await asyncio.sleep(RESTART_SECONDS)

    async def _start(self, post: Post) -> Part | None:
        start = self._mesh.coordinator if post.kind == "coordinator" else self._mesh.worker
        try:
            return await start(post.name, **post.settings())
        except AssertionError:
            self._journal.write("failed_starts", part=post.name)
            return None


@asynccontextmanager
async def fleet(mesh: Mesh, journal: Journal) -> AsyncIterator[Fleet]:
    """An empty fleet; whatever it was filled with is gone at the end."""
    made = Fleet(mesh, journal)
    try:
        yield made
    finally:
        journal.write("ends", **await made.close())


def send(number: signal.Signals, *processes: psutil.Process | None) -> None:
    """A signal to each that is still there."""
    for process in processes:
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


async def _end(post: Post) -> int | None:
    part = post.part
    if part is None:
        return 0
    if part.process.returncode is None:
        send(signal.SIGCONT, *post.tree)
        part.process.terminate()
        try:
            async with asyncio.timeout(20):
                await part.process.wait()
        except TimeoutError:
            part.destroy()
            await part.process.wait()
            return None
    return part.process.returncode


def _name(process: psutil.Process) -> str:
    """Of which part it is the main process; empty for other processes."""
    if not {"worker-main", "coordinator"} & set(words(process)):
        return ""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.environ().get("DOCTRAIN_NAME", "")
    return ""
