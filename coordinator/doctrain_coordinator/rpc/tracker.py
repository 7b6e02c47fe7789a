"""TrackerService: the stream a worker (docs/protocol.md, "Messages"); translates, submits, and writes the answers back.

A stream has exactly one writer; answers that come while it writes are merged into the next response.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from doctrain_coordinator.core.ledger import Begun, Recorded
from doctrain_coordinator.rpc import tracker_answers, tracker_requests
from doctrain_coordinator.tracking.commits import Committer
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.heartbeats import Beat, Heartbeats, Standing
from doctrain_coordinator.tracking.items import Begin, BegunShard, Report
from doctrain_coordinator.tracking.lost_sessions import Spawn
from doctrain_coordinator.tracking.opened import OpenDocuments
from doctrain_coordinator.tracking.sessions import Attachment, Sessions
from doctrain_coordinator.tracking.trials import Trials
from doctrain_mesh.errors import InvalidRequestError, StoreUnavailableError
from doctrain_mesh.supervise import deadline
from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_mesh.v1 import tracker_pb2_grpc

log = logging.getLogger(__name__)
RETRY_SECONDS = 0.25
HELLO_SECONDS = 10.0
STALL_SECONDS = 20.0
LOOKS = 4
"""So many looks a lease, one after the other, must find a worker silent: one long pause of this process is one look."""
MOST_REASON = 500
MOST_DELAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TrackerParts:
    """What the service needs; ``spawn`` runs a coroutine under the application's supervision."""

    committer: Committer
    heartbeats: Heartbeats
    sessions: Sessions
    handbacks: HandBacks
    trials: Trials
    open_documents: OpenDocuments
    spawn: Spawn
    lease_seconds: float
    beat_seconds: float


class TrackerService(tracker_pb2_grpc.TrackerServiceServicer):
    """Serves every worker's stream of this coordinator."""

    def __init__(self, parts: TrackerParts) -> None:
        self._parts = parts
        self._streams: set[_Stream] = set()
        self._draining = False

    def drain(self) -> None:
        """Tells every worker to move to another coordinator; ends of streams from now on are ours, not theirs."""
        self._draining = True
        for stream in self._streams:
            stream.outbox.draining = True
            stream.wake()

    def cut(self) -> None:
        """Ends the streams of workers that found no other coordinator: they would stay as long as this one lets them."""
        for stream in self._streams:
            stream.left_alone = True
            stream.wake()

    async def Track(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.TrackRequest], context: grpc.aio.ServicerContext[pb.TrackRequest, pb.TrackResponse]
    ) -> None:
        """One worker's stream, until either side ends it."""
        async with deadline("The wait for a worker's hello", HELLO_SECONDS):
            first = await context.read()
        if not isinstance(first, pb.TrackRequest) or not first.HasField("hello") or not first.hello.worker_id:
            raise InvalidRequestError("The first request of a stream must carry `hello` with a `worker_id`.")
        attachment = await self._parts.sessions.open(tracker_requests.opening(first.hello))
        if attachment is None:
            await context.write(pb.TrackResponse(welcome=pb.Welcome()))
            return
        stream = _Stream(self._parts, attachment, context, draining=self._draining)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
            if not self._draining and stream.spoken and stream.ended_by_worker:
                self._parts.spawn(self._parts.sessions.closed(attachment))


class _Stream:
    """One attached stream: reads requests, gathers answers, writes them."""

    def __init__(self, parts: TrackerParts, attachment: Attachment, context: Any, *, draining: bool) -> None:
        self._parts, self._attachment, self._context = parts, attachment, context
        self.outbox = pb.TrackResponse(
            welcome=pb.Welcome(
                session=attachment.session,
                attached=attachment.attached,
                beat_ms=int(parts.beat_seconds * 1000),
                lease_ms=int(parts.lease_seconds * 1000),
                secret=attachment.secret,
            ),
            draining=draining,
        )
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        # Shards asked for: the heartbeat (counted) after which the begin was answered, None while it is not.
        self._begun_at: dict[int, int | None] = {}
        self._heartbeats = 0
        self._hand_backs: asyncio.Queue[pb.TrackRequest] = asyncio.Queue()
        self._ended = False
        self._failed = False
        self.spoken = False
        """Whether the worker has said anything since its welcome. One that has not may never have got it, and works on over its
        stream before; the end of this one says nothing of it, and the lease decides."""
        self.left = False
        self.stalled = False
        self.left_alone = False

    @property
    def ended_by_worker(self) -> bool:
        """Whether it ended without a word and not by this side's doing: only then its worker has fenced itself by now."""
        return not (self.left or self.stalled or self._failed)

    def wake(self) -> None:
        """There is something in the outbox."""
        self._wakeup.set()

    async def run(self) -> None:
        """Reads and writes until the worker leaves or closes its end, does not take its answers or falls silent for its lease."""
        session = self._attachment.session
        tasks = {
            asyncio.create_task(self._read(), name=f"requests of session {session}"),
            asyncio.create_task(self._write(), name=f"answers to session {session}"),
            asyncio.create_task(self._hand_all_back(), name=f"hand-backs of session {session}"),
            asyncio.create_task(self._outlive(), name=f"silence of session {session}"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._failed = self._context.ended_here  # else the worker cancelled, or its connection broke
            raise
        finally:
            self._ended = True
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            try:
                task.result()
            except grpc.aio.InternalError as error:  # a read or write on a stream that is gone
                log.info("The stream of session %d broke off: %r", session, error)
            except Exception:
                self._failed = True
                raise

    async def _read(self) -> None:
        while (request := await self._context.read()) is not grpc.aio.EOF:
            self.spoken = True
            self._attachment.heard = time.monotonic()
            self._take(request)
        await self._hand_backs.join()

    async def _outlive(self) -> None:
        """Returns when nothing was heard for a lease: the machine may be gone, of which no network tells."""
        silent = 0
        while silent < LOOKS:
            heard = self._attachment.heard
            await asyncio.sleep(self._parts.lease_seconds / LOOKS)
            silent = silent + 1 if self._attachment.heard == heard else 0
        log.info("Session %d said nothing for its lease; its stream is ended.", self._attachment.session)

    async def _hand_all_back(self) -> None:
        # Beside the reader: a hand-back may wait for locks, heartbeats must not.
        while not self.left:
            await self._hand_back(await self._hand_backs.get())
            self._hand_backs.task_done()

    async def _write(self) -> None:
        while not (self.stalled or self.left_alone):
            await self._wakeup.wait()
            self._wakeup.clear()
            response, self.outbox = self.outbox, pb.TrackResponse()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._context.write(response)
            except TimeoutError:
                self.stalled = True

    def _take(self, request: pb.TrackRequest) -> None:
        if request.HasField("heartbeat"):
            self._beat(request.heartbeat)
        if request.begins or request.blocks:
            session = self._attachment.session
            items: list[Begin | Report] = [self._begin(session, b.shard) for b in request.begins]
            items += [self._report(session, block) for block in request.blocks]
            self._parts.committer.submit(items)
        if request.trials or request.yields or request.stopped or request.HasField("goodbye"):
            self._hand_backs.put_nowait(request)

    def _begin(self, session: int, ref: pb.ShardRef) -> Begin:
        shard, number = ref.shard, ref.number
        self._begun_at[shard] = None

        def answer(outcome: Begun, begun: BegunShard | None) -> None:
            self._begun_at[shard] = self._heartbeats
            if begun is not None:
                known = self._parts.open_documents.known(begun)
                if known is None:
                    self._parts.spawn(self._tell(begun))
                    return
                self.outbox.begins.append(tracker_answers.begun(known))
                self.wake()
                return
            self.outbox.begins.append(tracker_answers.not_begun((shard, number), outcome))
            self.wake()

        return Begin(session, shard, number, answer)

    async def _tell(self, begun: BegunShard) -> None:
        while not self._ended:
            try:
                answer = tracker_answers.begun(await self._parts.open_documents.read(begun))
                self.outbox.begins.append(answer)  # looked up after the wait: the writer replaces the outbox meanwhile
                self.wake()
                return
            except StoreUnavailableError as error:
                log.warning("The documents of shard %d are read again: %s", begun.facts.id, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _report(self, session: int, block: pb.Block) -> Report:
        sequence, shard, number = block.sequence, block.shard.shard, block.shard.number  # the message itself is let go

        def answer(outcome: Recorded, done: bool, invalid: Sequence[int]) -> None:
            self.outbox.blocks.append(tracker_answers.block(sequence, (shard, number), outcome, done, invalid))
            self.wake()

        return Report(session, shard, number, tracker_requests.block(block), answer, urgent=not block.running)

    def _beat(self, heartbeat: pb.Heartbeat) -> None:
        self._heartbeats += 1
        mine, sequence = self._heartbeats, heartbeat.sequence
        held = {ref.shard: ref.number for ref in heartbeat.held}
        self._begun_at = {shard: at for shard, at in self._begun_at.items() if at is None or at >= mine - 2}

        def answer(standing: Standing) -> None:
            if standing.beat is not None:
                self._attachment.beaten(standing.beat)
            self.outbox.heartbeat.CopyFrom(tracker_answers.heartbeat(sequence, standing))
            self.wake()

        def asked() -> set[int]:
            return {shard for shard, at in self._begun_at.items() if at is None or at >= mine - 1}

        session, attached = self._attachment.session, self._attachment.attached
        self._parts.heartbeats.submit(Beat(session, attached, heartbeat.draining, held, asked, answer, lambda: self._ended))

    async def _hand_back(self, request: pb.TrackRequest) -> None:
        """Rare, so each in its own transaction; what fails while Postgres is away is asked again by the worker."""
        session = self._attachment.session
        try:
            for trial in request.trials:
                started = await self._parts.trials.start(session, (trial.shard.shard, trial.shard.number), trial.ordinal)
                outcome = pb.TRIAL_OUTCOME_STARTED if started else pb.TRIAL_OUTCOME_REFUSED
                self.outbox.trial_answers.add(shard=trial.shard, ordinal=trial.ordinal, outcome=outcome)
            for item in request.yields:
                await self._parts.handbacks.release_yielded(
                    session,
                    (item.shard.shard, item.shard.number),
                    why=item.reason[:MOST_REASON].replace("\x00", " "),
                    delay_ms=min(max(0, item.delay_ms), MOST_DELAY_MS),
                )
                self.outbox.yields.append(item.shard)
            if request.stopped:
                refs = [item.shard for item in request.stopped]
                await self._parts.handbacks.release_stopped(session, [(r.shard, r.number) for r in refs])
                self.outbox.stopped.extend(refs)
            if request.HasField("goodbye"):
                log.info("Session %d says goodbye: %.200r", session, request.goodbye.reason)
                await self._parts.sessions.leave(session)
                self.left = True
        except StoreUnavailableError as error:
            log.warning("A hand-back of session %d stays unanswered: %s", session, error)
        self.wake()
