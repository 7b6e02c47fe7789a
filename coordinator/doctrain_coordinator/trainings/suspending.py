"""Makes the trainings of suspended tenants stand still, and those of resumed ones go on.

Who suspends a tenant only marks it. What the mark means for each training is found out by looking, again and again and by every
coordinator, so that nothing is missed: neither what a dying coordinator left, nor a training that was accepted at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.trainings.control import Control
from doctrain_mesh import postgres
from doctrain_mesh.errors import UnavailableError
from doctrain_mesh.postgres import Pool, statements
from doctrain_mesh.supervise import for_each, forever

SQL = statements.of(__name__, TrainingState)
READ_SECONDS = 10.0
LOOK_SECONDS = 3.0
PAUSE_SECONDS = 0.05
RETRY_SECONDS = 3.0
TRAININGS_AT_ONCE = 200
AT_ONCE = 4


class Suspensions:
    """Trainings follow their tenants."""

    def __init__(self, pool: Pool, control: Control) -> None:
        self._pool, self._control = pool, control
        self._poked = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        await forever("holding the trainings of suspended tenants", self._look, expected=UnavailableError, retry_seconds=RETRY_SECONDS)

    async def _look(self) -> None:
        self._poked.clear()
        if await self._settle_some():
            await asyncio.sleep(PAUSE_SECONDS)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._poked.wait()

    def poke(self) -> None:
        """A tenant was suspended or resumed here: looks at once."""
        self._poked.set()

    async def _settle_some(self) -> bool:
        """Holds some of what is to be held and lets go some of what is not; whether there may be more. Raises StoreUnavailableError."""
        async with postgres.acquired(self._pool, "looking for suspended tenants", seconds=READ_SECONDS) as c:
            found = [(row["id"], row["suspended"]) for row in await c.fetch(SQL["to_settle"], TRAININGS_AT_ONCE)]
        await for_each(found, self._settle, at_once=AT_ONCE)
        return len(found) >= TRAININGS_AT_ONCE

    async def _settle(self, one: tuple[int, bool]) -> None:
        training, suspended = one
        if suspended:
            await self._control.suspend(training)
        else:
            await self._control.let_go(training)
