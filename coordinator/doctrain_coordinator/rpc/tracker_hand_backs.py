"""What of a stream's requests gives shards or the session back, or starts a trial: rare, and each in its own transaction."""

from __future__ import annotations

import asyncio
import logging

from doctrain_coordinator.core.stream_end import StreamEnd
from doctrain_coordinator.rpc.tracker_outbox import Outbox
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.sessions import Sessions
from doctrain_coordinator.tracking.trials import Trials
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.v1 import tracker_pb2 as pb

log = logging.getLogger(__name__)
MOST_REASON = 500
MOST_DELAY_MS = 24 * 3600 * 1000


class HandBackQueue:
    """The hand-backs of one stream, done in the order in which they came.

    They are done beside its reader, as one may wait for locks and heartbeats must not.
    """

    def __init__(self, session: int, outbox: Outbox, handbacks: HandBacks, trials: Trials, sessions: Sessions) -> None:
        self._session, self._outbox = session, outbox
        self._handbacks, self._trials, self._sessions = handbacks, trials, sessions
        self._waiting: asyncio.Queue[pb.TrackRequest] = asyncio.Queue()

    def add(self, request: pb.TrackRequest) -> None:
        """Queues it where there is anything of it to do here."""
        if request.trials or request.yields or request.stopped or request.HasField("goodbye"):
            self._waiting.put_nowait(request)

    async def emptied(self) -> None:
        """Returns once all that was queued is done."""
        await self._waiting.join()

    async def run(self) -> StreamEnd:
        """Does what is queued, until the worker has said goodbye."""
        left = False
        while not left:
            left = await self._answer(await self._waiting.get())
            self._waiting.task_done()
        return StreamEnd.LEFT

    async def _answer(self, request: pb.TrackRequest) -> bool:
        """Whether the session is over. What fails while Postgres is away is asked again by the worker."""
        try:
            await self._start_trials(request)
            await self._release(request)
            if request.HasField("goodbye"):
                log.info("Session %d says goodbye: %.200r", self._session, request.goodbye.reason)
                await self._sessions.leave(self._session)
                return True
        except StoreUnavailableError as error:
            log.warning("A hand-back of session %d stays unanswered: %s", self._session, error)
        return False

    async def _start_trials(self, request: pb.TrackRequest) -> None:
        for trial in request.trials:
            started = await self._trials.start(self._session, (trial.shard.shard, trial.shard.number), trial.ordinal)
            outcome = pb.TRIAL_OUTCOME_STARTED if started else pb.TRIAL_OUTCOME_REFUSED
            self._outbox.trial(pb.TrialAnswer(shard=trial.shard, ordinal=trial.ordinal, outcome=outcome))

    async def _release(self, request: pb.TrackRequest) -> None:
        for item in request.yields:
            await self._handbacks.release_yielded(
                self._session,
                (item.shard.shard, item.shard.number),
                why=item.reason[:MOST_REASON].replace("\x00", " "),
                delay_ms=min(max(0, item.delay_ms), MOST_DELAY_MS),
            )
            self._outbox.yielded(item.shard)
        if request.stopped:
            refs = [item.shard for item in request.stopped]
            await self._handbacks.release_stopped(self._session, [(ref.shard, ref.number) for ref in refs])
            self._outbox.stopped(refs)
