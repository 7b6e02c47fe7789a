"""The database server: connections to it, pools of them, notifications, restarts, and the faults on the way."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg

from doctrain_mesh import postgres
from doctrain_mesh.postgres import connections
from simulation.store import statements
from simulation.store.connection import Connection
from simulation.store.tables import Database
from simulation.virtual_loop import PROCESS, Process

FAST_SECONDS = (0.0001, 0.001)
LATE_SECONDS = (0.002, 0.03)
LATE = 0.1
SLOW_SECONDS = (0.05, 1.5)


class StoreFaults:
    """Shares of statements that a fault meets; all zero at first. ``two_leaders``: the leader's lock excludes nobody."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.before = self.after = self.slow = 0.0
        self.two_leaders = False

    def fate(self) -> str:
        """``before``: the server never saw it; ``after``: it is done, and the client never hears."""
        at = self._draw.random()
        if at < self.before:
            return "before"
        return "after" if at < self.before + self.after else ""

    def latency(self) -> float:
        """Until the statement runs."""
        at = self._draw.random()
        if at < self.slow:
            return self._draw.uniform(*SLOW_SECONDS)
        return self._draw.uniform(*(LATE_SECONDS if at < self.slow + LATE else FAST_SECONDS))


class StoreServer:
    """One server. ``note`` writes the event log."""

    def __init__(self, draw: random.Random, note: Callable[..., None]) -> None:
        self.database = Database()
        self.faults = StoreFaults(draw)
        self.note = note
        self.statements = statements.by_text()
        self.up = True
        self._pids = itertools.count(1)
        self._open: dict[Any, Connection] = {}

    async def connect(
        self, url: str, *, settings: Mapping[str, str] | None = None, command_seconds: float = 30.0, starting: bool = False
    ) -> Connection:
        """In place of ``doctrain_mesh.postgres.connect``."""
        async with postgres.available("connecting"):
            return await self.dial(dict(settings or {}), command_seconds)

    async def dial(self, settings: dict[str, str], command_seconds: float) -> Connection:
        """A connection of the process that calls."""
        await asyncio.sleep(self.faults.latency())
        process = PROCESS.get()
        if not self.up or (process is not None and not process.alive):
            raise ConnectionRefusedError("the database is away")
        connection = Connection(self, next(self._pids), settings, command_seconds)
        self._open[connection.backend] = connection
        return connection

    async def create_pool(
        self,
        url: str,
        *,
        size: int,
        name: str,
        frozen_seconds: float = connections.FROZEN_SECONDS,
        settings: Mapping[str, str] | None = None,
        opened: object = None,
    ) -> Pool:
        """In place of ``doctrain_mesh.postgres.create_pool``."""
        pool = Pool(self, size, frozen_seconds)
        async with postgres.available("opening a pool"):
            await pool.release(await pool.acquire())
        return pool

    def forget(self, backend: Any) -> None:
        """It has ended."""
        self._open.pop(backend, None)

    def notify(self, sender: int, notices: tuple[tuple[str, str], ...]) -> None:
        """To all who listen, after the commit."""
        for channel, payload in notices:
            for connection in tuple(self._open.values()):
                connection.heard(sender, channel, payload)

    def lose(self, process: Process) -> None:
        """That process is gone, and its connections with it."""
        for connection in tuple(self._open.values()):
            if connection.process is process:
                connection.terminate()

    def cut_one(self, draw: random.Random) -> None:
        """Some connection breaks."""
        if self._open:
            draw.choice(list(self._open)).end()

    def cut_leader(self) -> None:
        """The connection that holds the leader's lock breaks."""
        for backend in [backend for backend in self._open if any(key[0] == "advisory" and key[1] > 0 for key in backend.held)]:
            backend.end()

    def stop(self) -> None:
        """All connections end, what is not committed is gone, and nobody gets in."""
        self.up = False
        for backend in tuple(self._open):
            backend.end()

    def start(self) -> None:
        """It answers again."""
        self.up = True


class Pool:
    """asyncpg's pool, as far as the product uses it."""

    def __init__(self, server: StoreServer, size: int, idle_seconds: float) -> None:
        self._server = server
        self._settings = {"idle_in_transaction_session_timeout": f"{idle_seconds:g}s"}
        self._size, self._room = size, asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._closed = False

    async def acquire(self, *, timeout: float | None = None) -> Connection:
        if self._closed:
            raise asyncpg.InterfaceError("pool is closed")
        async with asyncio.timeout(timeout):
            await self._room.acquire()
        try:
            while self._idle and self._idle[-1].is_closed():
                self._idle.pop()
            if self._idle:
                connection = self._idle.pop()
            else:
                async with asyncio.timeout(connections.CONNECT_SECONDS):
                    connection = await self._server.dial(self._settings, connections.COMMAND_SECONDS)
        except BaseException:
            self._room.release()
            raise
        self._used.add(connection)
        return connection

    async def release(self, connection: Connection, *, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await connection.reset()
            if not connection.is_closed():
                self._idle.append(connection)
        finally:
            self._used.discard(connection)
            self._room.release()

    def is_closing(self) -> bool:
        return self._closed

    def get_size(self) -> int:
        return self.get_idle_size() + sum(not connection.is_closed() for connection in self._used)

    def get_idle_size(self) -> int:
        return sum(not connection.is_closed() for connection in self._idle)

    def get_max_size(self) -> int:
        return self._size

    async def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        self._closed = True
        for connection in (*self._idle, *self._used):
            connection.terminate()
        self._idle.clear()
