"""Sessions that are lost: who is to blame is found out before they are taken back, by what all coordinators saw.

Each loss is marked on its session's row at once, by the database's clock, so that any coordinator can tell one worker's end
from a power cut. That is certain only once the window has passed. Until then a session is taken back only where a charge is
no more than a count, which is forgiven if more losses follow; where a document may be put on trial, or fail, the
take-back waits (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from doctrain_coordinator.core.charging import FREE_FENCES, Blame
from doctrain_coordinator.core.mass_loss import LEAST, WINDOW_SECONDS, is_mass_loss
from doctrain_coordinator.core.states import SessionState, ShardState
from doctrain_coordinator.tracking.takeback import Guard, TakeBacks
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Pool, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState, ShardState)
JUDGE_SECONDS = 10.0
RETRY_SECONDS = 2.0
# Marks of others' losses may be on their way for a moment after the window.
SETTLED_SECONDS = WINDOW_SECONDS + 0.25

Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine under the application's supervision."""


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """The circumstances of one loss.

    It was ``age`` seconds ago, others were so far ``apart`` from it, and ``at_stake`` says whether a charge is more than a count.
    """

    age: float
    apart: Sequence[float]
    live: int
    at_stake: bool

    @property
    def excused(self) -> bool:
        return is_mass_loss(self.apart, self.live)

    @property
    def settled(self) -> bool:
        """Whether no further loss can change the answer: the window has passed, or there are too few sessions."""
        return self.age >= SETTLED_SECONDS or len(self.apart) + self.live < LEAST


class LostSessions:
    """Takes lost sessions back; each coordinator has one. ``before_trial`` is how many losses put a shard's documents on trial."""

    def __init__(self, pool: Pool, takebacks: TakeBacks, spawn: Spawn, *, before_trial: int) -> None:
        self._pool, self._takebacks, self._spawn, self._before_trial = pool, takebacks, spawn, before_trial

    async def mark(self, guard: Guard) -> bool:
        """Notes that the session is lost, for all to see; False when the guard does not hold. Raises StoreUnavailableError."""
        async with postgres.acquired(self._pool, "marking a lost session", seconds=JUDGE_SECONDS) as c:
            return await c.fetchval(SQL["mark_gone"], guard.session, guard.beat, guard.attached) is not None

    async def take_back(self, guard: Guard, *, blame: Blame, why: str) -> None:
        """Takes it back, and blames nobody if it went with many others. Raises StoreUnavailableError."""
        if blame is Blame.NOBODY:
            await self._takebacks.take_back(guard, blame=blame, why=why)
            return
        if not await self.mark(guard):
            return
        seen = await self._circumstances(guard.session, blame)
        while seen is not None and seen.at_stake and not (seen.excused or seen.settled):
            await asyncio.sleep(SETTLED_SECONDS - seen.age)
            seen = await self._circumstances(guard.session, blame)
        taken = await self._takebacks.take_back(guard, blame=Blame.NOBODY if seen is None or seen.excused else blame, why=why)
        if seen is not None and taken is not None and taken.counted and not seen.settled:
            self._spawn(self._judge_again(guard.session, blame, taken.counted, SETTLED_SECONDS - seen.age))

    async def _judge_again(self, session: int, blame: Blame, shards: Sequence[int], seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen = await self._circumstances_at_last(session, blame)
        if seen is None or not seen.excused:
            return
        try:
            await self._takebacks.forgive(shards)
            log.info("Session %d was lost with many others; %d shards are not charged for it after all.", session, len(shards))
        except StoreUnavailableError as error:  # it may have been done all the same, and twice would be too often
            log.warning("Session %d was lost with many others; whether its charge stands is not known: %s", session, error)

    async def _circumstances_at_last(self, session: int, blame: Blame) -> _Circumstances | None:
        """As soon as Postgres answers: what takes workers away may take it away, too."""
        while True:
            try:
                return await self._circumstances(session, blame)
            except StoreUnavailableError as error:
                log.warning("Whether session %d was lost with others is looked at again: %s", session, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _circumstances(self, session: int, blame: Blame) -> _Circumstances | None:
        """None when a sign of life took the mark away."""
        free = FREE_FENCES if blame is Blame.FENCED else 0
        async with postgres.acquired(self._pool, "looking at a lost session", seconds=JUDGE_SECONDS) as c:
            row = await c.fetchrow(SQL["losses_beside"], session, WINDOW_SECONDS, self._before_trial, free)
        return None if row is None else _Circumstances(row["age"], row["apart"], row["live"], row["at_stake"])
