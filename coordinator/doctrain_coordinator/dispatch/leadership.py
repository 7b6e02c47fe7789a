"""One coordinator leads at a time: a session advisory lock on a connection that runs all of the leader's statements.

A leader whose connection is gone cannot write, one that is frozen loses the lock after ``idle_session_timeout``, and two
that overlap for a moment do no harm: every grant counts under the tenant's lock (docs/protocol.md, "Grant").
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from doctrain_coordinator.store import planning
from doctrain_coordinator.store.advisory_locks import AdvisoryLock
from doctrain_coordinator.store.database import Database
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Connection, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, AdvisoryLock)
IDLE_SECONDS = 6
CAMPAIGN_SECONDS = 1.0
WAIT_SECONDS = 10.0
COMMAND_SECONDS = 15.0


class Leadership:
    """Campaigns for the lock and runs ``lead`` while it holds; ``run`` is supervised by the application."""

    def __init__(self, database: Database, lead: Callable[[Connection], Awaitable[None]]) -> None:
        self._database, self._lead = database, lead
        self.leading = False

    async def run(self) -> None:
        """Campaigns until cancelled; losing Postgres or the lock starts over."""
        while True:
            try:
                await self._term()
            except UnavailableError as error:
                log.warning("Leading is interrupted: %s", error)
            finally:
                if self.leading:
                    self.leading = False
                    log.info("This coordinator leads no longer.")
            await asyncio.sleep(CAMPAIGN_SECONDS)

    async def _term(self) -> None:
        connection = await self._database.connect(
            settings={
                "application_name": "doctrain leader",
                "idle_session_timeout": f"{IDLE_SECONDS}s",
                **planning.ONCE,
                **postgres.ended_when_frozen(),
            },
            command_seconds=COMMAND_SECONDS,
        )
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS), postgres.available("campaigning", connection):
                    await connection.execute(SQL["lead"])
            except TimeoutError:
                return
            self.leading = True
            log.info("This coordinator leads.")
            await self._lead(connection)
        finally:
            await postgres.close_connection(connection)
