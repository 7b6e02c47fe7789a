"""The database of a process that remembers its rows: it may be away, but it may not come back as it was before.

After a restore, and after a replica took over that had not received everything, numbers that this process knows are given out again, to
others' rows. So each new connection, and every second one that is open, is asked where Postgres stands in its own history, and for a mark
that this process leaves there each second: a log that has grown since the restore shows nothing. Once what is found does not follow what
was seen before, nothing is done any more, and ``watch`` ends the process, which has to forget all it knows.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakSet

from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreRestoredError, StoreUnavailableError
from doctrain_mesh.postgres import Connection, OwnConnection, Pool, statements

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
COMMAND_SECONDS = 30.0
SQL = statements.of(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the history of a database: ``line`` names the history, along it ``position`` and the ``mark`` only grow."""

    line: tuple[object, ...]
    position: int
    mark: int

    def follows(self, before: Moment) -> bool:
        """Whether everything that was there before is there."""
        return self.line == before.line and self.position >= before.position and self.mark >= before.mark


class Database:
    """The one at ``url``. Its connections raise StoreRestoredError instead of being opened once it is not what it was.

    Those to a replica, which may be behind, raise StoreUnavailableError until it is promoted.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = secrets.randbits(63)
        self._seen: Moment | None = None
        self._restored = asyncio.Event()
        self._pools: list[Pool] = []
        self._connections: WeakSet[OwnConnection] = WeakSet()
        self._cut: asyncio.TimerHandle | None = None

    async def connect(self, *, settings: Mapping[str, str] | None = None, command_seconds: float = COMMAND_SECONDS) -> OwnConnection:
        """Opens a connection, as ``doctrain_mesh.postgres.connect`` does."""
        connection = await postgres.connect(self._url, settings=settings, command_seconds=command_seconds)
        self._connections.add(connection)
        try:
            async with postgres.available("opening a connection", connection):
                await self._look(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def create_pool(self, *, size: int, name: str, settings: Mapping[str, str] | None = None) -> Pool:
        """Opens a pool, as ``doctrain_mesh.postgres.create_pool`` does; ``close`` closes it."""
        pool = await postgres.create_pool(self._url, size=size, name=name, settings=settings, opened=self._look)
        self._pools.append(pool)
        return pool

    def cut_after(self, seconds: float) -> None:
        """Drops all that is open then: what waits for a Postgres that is frozen hears at once that it is away."""
        self._cut = asyncio.get_running_loop().call_later(seconds, self._drop_all)

    async def close(self) -> None:
        """Closes the pools, all at once, within the time of one."""
        await asyncio.gather(*map(postgres.close_pool, self._pools))
        if self._cut is not None:
            self._cut.cancel()

    def _drop_all(self) -> None:
        for pool in self._pools:
            pool.terminate()
        for connection in tuple(self._connections):
            connection.terminate()

    async def watch(self, pool: Pool) -> None:
        """Looks, with connections of ``pool``, until cancelled. Raises StoreRestoredError once Postgres is not where it was."""
        while not self._restored.is_set():
            try:
                async with postgres.acquired(pool, "looking where Postgres stands", seconds=COMMAND_SECONDS) as connection:
                    await self._look(connection)
                    await connection.execute(SQL["mark"], self._name)
                    await self._look(connection)
            except StoreRestoredError:
                break
            except StoreUnavailableError as error:
                log.debug("Where Postgres stands is not known: %s", error)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._restored.wait()
            except TimeoutError:
                continue
        raise _restored()

    async def _look(self, connection: Connection) -> None:
        before = self._seen  # of several looks at once each is compared with what was seen before it was asked for
        row = await connection.fetchrow(SQL["look"], self._name)
        assert row is not None
        if row["position"] is None:
            raise StoreUnavailableError("Postgres is a replica that was not promoted; what it shows may be old.", retry_after_seconds=1.0)
        moment = Moment((row["system"], row["database"], row["schema"], row["timeline"]), row["position"], row["mark"])
        if before is not None and not moment.follows(before):
            self._restored.set()
        if self._restored.is_set():
            raise _restored()
        if self._seen is None or moment.follows(self._seen):  # a look that was overtaken by another tells nothing new
            self._seen = moment


def _restored() -> StoreRestoredError:
    return StoreRestoredError(
        "Postgres is not where it was: it was restored to an earlier state, or a replica took its place. "
        "This process ends, so that nothing it remembers is taken for true; start it again.",
        retry_after_seconds=1.0,
    )
