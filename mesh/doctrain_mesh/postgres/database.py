"""The database of a process that remembers its rows: it may be away, but it may not come back as it was before.

After a restore, and after a replica took over that had not received everything, numbers that this process knows are given out again, to
others' rows. So each new connection, and every second one that is open, is asked where Postgres stands in its own history; once that does
not follow what was seen before, nothing is done any more, and ``watch`` ends the process, which has to forget all it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from doctrain_mesh.errors import StoreRestoredError, StoreUnavailableError
from doctrain_mesh.postgres import connections
from doctrain_mesh.postgres.connections import COMMAND_SECONDS, Connection, OwnConnection, Pool

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
# What is flushed survives a crash of Postgres, so a crash alone never goes back. The timeline is that of the next write: the one in the
# last checkpoint lags behind a promotion.
_WHERE = """
select (select system_identifier from pg_control_system()) as system,
    (select oid from pg_database where datname = current_database())::bigint as database,
    to_regclass('session')::oid::bigint as schema,
    substr(pg_walfile_name(flushed), 1, 8) as timeline,
    (flushed - '0/0')::bigint as position
from pg_current_wal_flush_lsn() as flushed
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the history of a database: ``line`` names the history, ``position`` only grows along it."""

    line: tuple[object, ...]
    position: int

    def follows(self, before: Moment) -> bool:
        """Whether everything that was there before is there."""
        return self.line == before.line and self.position >= before.position


class Database:
    """The one at ``url``. Its connections raise StoreRestoredError instead of being opened once it is not what it was."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: Moment | None = None
        self._restored = asyncio.Event()

    async def connect(self, *, settings: Mapping[str, str] | None = None, command_seconds: float = COMMAND_SECONDS) -> OwnConnection:
        """As ``connections.connect``."""
        connection = await connections.connect(self._url, settings=settings, command_seconds=command_seconds)
        try:
            async with connections.available("opening a connection", connection):
                await self._look(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def create_pool(self, *, size: int, name: str, settings: Mapping[str, str] | None = None) -> Pool:
        """As ``connections.create_pool``."""
        return await connections.create_pool(self._url, size=size, name=name, settings=settings, opened=self._look)

    async def watch(self, pool: Pool) -> None:
        """Looks, with connections of ``pool``, until cancelled. Raises StoreRestoredError once Postgres is not where it was."""
        while not self._restored.is_set():
            try:
                async with connections.acquired(pool, "looking where Postgres stands", seconds=COMMAND_SECONDS) as connection:
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
        row = await connection.fetchrow(_WHERE)
        assert row is not None
        moment = Moment((row["system"], row["database"], row["schema"], row["timeline"]), row["position"])
        if before is not None and not moment.follows(before):
            self._restored.set()
        if self._restored.is_set():
            raise _restored()
        if self._seen is None or moment.position > self._seen.position:
            self._seen = moment


def _restored() -> StoreRestoredError:
    return StoreRestoredError(
        "Postgres is not where it was: it was restored to an earlier state, or a replica took its place. "
        "This process ends, so that nothing it remembers is taken for true; start it again.",
        retry_after_seconds=1.0,
    )
