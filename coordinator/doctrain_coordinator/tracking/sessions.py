"""Opens, attaches and ends the workers' sessions (docs/protocol.md, "Rows", "Take-back")."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from dataclasses import dataclass

from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.charging import Blame
from doctrain_coordinator.core.states import SessionState
from doctrain_coordinator.tracking.lost_sessions import LostSessions
from doctrain_coordinator.tracking.takeback import Guard
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Pool, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__, SessionState)
SESSION_SECONDS = 10.0
GRACE_SECONDS = 1.0
QUIET_SECONDS = 0.75
"""Three pings. A worker that said nothing for longer, before its stream ended, may be frozen: it does not see the end either."""
RETRY_SECONDS = 0.5
SECRET_BYTES = 16
MOST_TRIES = 20


@dataclass(slots=True)
class Attachment:
    """One stream of a session: ``attached`` counts the session's streams, ``beat`` is the last that was committed.

    ``answered`` is when that was, ``heard`` when the worker last said anything, ``starved`` when an answer last came after more than
    half of the ``lease``, in seconds of this process's monotonic clock. ``secret`` is for the worker of a session that is new; empty
    on its later streams. ``cordoned``: its worker is to take no messages.
    """

    session: int
    attached: int
    beat: int
    answered: float
    heard: float
    lease: float
    secret: bytes = b""
    cordoned: bool = False
    starved: float | None = None

    def beaten(self, beat: int) -> None:
        """A heartbeat was committed and is answered now."""
        now = time.monotonic()
        if self._unanswered(now):
            self.starved = now
        self.beat, self.answered = beat, now

    def had_to_fence(self, now: float) -> bool:
        """Whether the worker was left unanswered for so long that it fences itself, or was a lease ago or less.

        What it did meanwhile is heard late: after an absence of Postgres its heartbeats are answered and its end is seen at once.
        """
        return self._unanswered(now) or (self.starved is not None and now - self.starved < self.lease)

    def _unanswered(self, now: float) -> bool:
        return now - self.answered > self.lease / 2


@dataclass(frozen=True, slots=True)
class Opening:
    """What a worker says when it opens a stream; ``predecessor`` 0 is none. ``secret`` is that of the session named."""

    worker_id: str
    lanes: int
    version: str
    session: int
    predecessor: int
    predecessor_charged: bool
    secret: bytes


class Sessions:
    """Every stream's door to the session rows."""

    def __init__(self, pool: Pool, lost: LostSessions, changes: Changes, *, lease_seconds: float) -> None:
        self._pool, self._lost, self._changes = pool, lost, changes
        self._lease = lease_seconds

    async def open(self, opening: Opening) -> Attachment | None:
        """Attaches to the session named, or opens a new one; None when the session named is lost, or another worker's."""
        if opening.predecessor:
            await self._succeed(opening)
        secret = b"" if opening.session else secrets.token_bytes(SECRET_BYTES)
        async with postgres.acquired(self._pool, "opening a session", seconds=SESSION_SECONDS) as c:
            if opening.session:
                row = await c.fetchrow(SQL["attach_session"], opening.session, opening.worker_id, opening.lanes, _hash(opening.secret))
            else:
                known = opening.worker_id, opening.lanes, opening.version, opening.predecessor or None
                row = await c.fetchrow(SQL["open_session"], *known, _hash(secret))
        if row is None:
            return None
        if not opening.session:
            log.info("Session %d of %s is open: %d lanes.", row["id"], opening.worker_id, opening.lanes)
        self._changes.work()
        now = time.monotonic()
        return Attachment(row["id"], row["attached"], row["beat"], now, now, self._lease, secret, row["cordoned"])

    async def _succeed(self, opening: Opening) -> None:
        async with postgres.acquired(self._pool, "reading a session", seconds=SESSION_SECONDS) as c:
            known = await c.fetchrow(SQL["predecessor"], opening.predecessor, opening.worker_id, _hash(opening.secret))
        if known is None:
            log.info("Session %d, which worker %s succeeds, is over already or not its own.", opening.predecessor, opening.worker_id)
            return
        blame = Blame.CHARGED if opening.predecessor_charged else Blame.FENCED
        await self._lost.take_back(Guard(opening.predecessor, None, None), blame=blame, why="its successor opened")

    async def leave(self, session: int) -> None:
        """The worker said goodbye: nothing of it runs, nobody is charged."""
        await self._lost.take_back(Guard(session, None, None), blame=Blame.NOBODY, why="it said goodbye")

    async def closed(self, attachment: Attachment) -> None:
        """The stream ended by itself without a goodbye: the session is taken back a second later, unless it moved on.

        A worker that was left unanswered for long ends its stream because it fenced itself. One that had fallen silent before is
        taken back when its lease has passed: until then its guardian may let its children run.
        """
        now = time.monotonic()
        if now - attachment.heard > QUIET_SECONDS:
            log.info("The stream of session %d ended after a silence; its lease decides.", attachment.session)
            return
        blame = Blame.FENCED if attachment.had_to_fence(now) else Blame.CHARGED
        await asyncio.gather(self._mark(attachment), asyncio.sleep(GRACE_SECONDS))
        for _ in range(MOST_TRIES):
            try:
                # Read anew: a heartbeat that came before the end may have been answered since.
                await self._lost.take_back(_guard(attachment), blame=blame, why="its stream closed")
                return
            except StoreUnavailableError as error:
                log.warning("Session %d is not taken back yet: %s", attachment.session, error)
                await asyncio.sleep(RETRY_SECONDS)
        log.warning("Session %d is not taken back by who saw its stream end; its lease decides.", attachment.session)

    async def _mark(self, attachment: Attachment) -> None:
        try:
            await self._lost.mark(_guard(attachment))
        except StoreUnavailableError as error:
            log.warning("The end of session %d's stream is noted later: %s", attachment.session, error)


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _guard(attachment: Attachment) -> Guard:
    return Guard(attachment.session, attachment.beat, attachment.attached)
