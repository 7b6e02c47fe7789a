"""What of a stream's requests gives shards or the session back, or starts a trial: rare, and each in its own transaction."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass

from doctrain_coordinator.core.stream_end import StreamEnd
from doctrain_coordinator.rpc.tracker_outbox import Outbox
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.sessions import Sessions
from doctrain_coordinator.tracking.trials import Trials
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.shown import sentence
from doctrain_mesh.v1 import tracker_pb2 as pb

log = logging.getLogger(__name__)
MOST_REASON = 500
MOST_DELAY_MS = 24 * 3600 * 1000


class _Kind(enum.Enum):
    TRIAL = enum.auto()
    YIELD = enum.auto()
    STOPPED = enum.auto()
    GOODBYE = enum.auto()


_Key = tuple[_Kind, int, int]
"""What is asked, of which (shard, number); the session's goodbye is of none."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request says beside; the request itself is let go."""

    ordinal: int = 0
    why: str = ""
    delay_ms: int = 0


class HandBackQueue:
    """The hand-backs of one stream, done in the order in which they came; what is asked again while it waits is done once, as asked last.

    They are done beside its reader, as one may wait for locks and heartbeats must not. ``done`` is called after each.
    """

    def __init__(
        self, session: int, outbox: Outbox, handbacks: HandBacks, trials: Trials, sessions: Sessions, *, done: Callable[[], None]
    ) -> None:
        self._session, self._outbox, self._done = session, outbox, done
        self._handbacks, self._trials, self._sessions = handbacks, trials, sessions
        self._waiting: dict[_Key, _Asked] = {}
        self._arrived, self._emptied = asyncio.Event(), asyncio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: pb.TrackRequest) -> None:
        """Queues what there is of it to do here."""
        for trial in request.trials:
            self._put(_Kind.TRIAL, trial.shard, _Asked(ordinal=trial.ordinal))
        for item in request.yields:
            why = sentence(item.reason, MOST_REASON)
            self._put(_Kind.YIELD, item.shard, _Asked(why=why, delay_ms=min(max(0, item.delay_ms), MOST_DELAY_MS)))
        for stopped in request.stopped:
            self._put(_Kind.STOPPED, stopped.shard, _Asked())
        if request.HasField("goodbye"):
            self._put(_Kind.GOODBYE, pb.ShardRef(), _Asked(why=sentence(request.goodbye.reason, MOST_REASON)))

    def _put(self, kind: _Kind, shard: pb.ShardRef, asked: _Asked) -> None:
        self._waiting[kind, shard.shard, shard.number] = asked
        self._emptied.clear()
        self._arrived.set()

    async def emptied(self) -> None:
        """Returns once all that was queued is done."""
        await self._emptied.wait()

    async def run(self) -> StreamEnd:
        """Does what is queued, until the worker has said goodbye."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                kind, shard, number = key = next(iter(self._waiting))
                if await self._answer(kind, (shard, number), self._waiting.pop(key)):
                    return StreamEnd.LEFT
                self._done()
            self._arrived.clear()
            self._emptied.set()

    async def _answer(self, kind: _Kind, hold: tuple[int, int], asked: _Asked) -> bool:
        """Whether the session is over. What fails while Postgres is away is asked again by the worker."""
        try:
            match kind:
                case _Kind.TRIAL:
                    await self._start_trial(hold, asked.ordinal)
                case _Kind.YIELD:
                    await self._handbacks.release_yielded(self._session, hold, why=asked.why, delay_ms=asked.delay_ms)
                    self._outbox.yielded(_ref(hold))
                case _Kind.STOPPED:
                    await self._release_stopped(hold)
                case _Kind.GOODBYE:
                    log.info("Session %d says goodbye: %.200r", self._session, asked.why)
                    await self._sessions.leave(self._session)
                    return True
        except StoreUnavailableError as error:
            log.warning("A hand-back of session %d stays unanswered: %s", self._session, error)
        return False

    async def _start_trial(self, hold: tuple[int, int], ordinal: int) -> None:
        started = await self._trials.start(self._session, hold, ordinal)
        outcome = pb.TRIAL_OUTCOME_STARTED if started else pb.TRIAL_OUTCOME_REFUSED
        self._outbox.trial(pb.TrialAnswer(shard=_ref(hold), ordinal=ordinal, outcome=outcome))

    async def _release_stopped(self, hold: tuple[int, int]) -> None:
        """All that is queued of shards that have stopped, in one transaction."""
        also = [key for key in self._waiting if key[0] is _Kind.STOPPED]
        for key in also:
            del self._waiting[key]
        holds = [hold, *((shard, number) for _, shard, number in also)]
        await self._handbacks.release_stopped(self._session, holds)
        self._outbox.stopped([_ref(one) for one in holds])


def _ref(hold: tuple[int, int]) -> pb.ShardRef:
    return pb.ShardRef(shard=hold[0], number=hold[1])
