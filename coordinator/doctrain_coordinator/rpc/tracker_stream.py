"""One worker's stream: reads its requests, submits what they ask for, and writes the answers back.

What it submits is answered later and by others (the committer, the heartbeats), who add to the outbox; one writer empties it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from doctrain_coordinator.core.asked_shards import AskedShards
from doctrain_coordinator.core.blocks import Block
from doctrain_coordinator.core.ledger import Begun, Recorded
from doctrain_coordinator.core.stream_end import StreamEnd
from doctrain_coordinator.rpc import tracker_answers, tracker_requests
from doctrain_coordinator.rpc.tracker_hand_backs import HandBackQueue
from doctrain_coordinator.rpc.tracker_outbox import Outbox
from doctrain_coordinator.tracking.commits import Committer
from doctrain_coordinator.tracking.handback import HandBacks
from doctrain_coordinator.tracking.heartbeats import Beat, Heartbeats, SessionStanding
from doctrain_coordinator.tracking.items import Begin, BegunShard, Report
from doctrain_coordinator.tracking.lost_sessions import Spawn
from doctrain_coordinator.tracking.opened import OpenDocuments
from doctrain_coordinator.tracking.sessions import Attachment, Sessions
from doctrain_coordinator.tracking.trials import Trials
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.supervise import first_of
from doctrain_mesh.v1 import tracker_pb2 as pb

log = logging.getLogger(__name__)
RETRY_SECONDS = 0.25
STALL_SECONDS = 20.0
MOST_UNANSWERED = 10_000
"""Weight of begins and blocks, and hand-backs, of a stream that wait for their commit before more is read of it."""
LOOKS = 4
"""So many looks a lease, one after the other, must find a worker silent: one long pause of this process is one look."""


@dataclass(frozen=True, slots=True)
class TrackerParts:
    """What streams need; ``spawn`` runs a coroutine under the application's supervision."""

    committer: Committer
    heartbeats: Heartbeats
    sessions: Sessions
    handbacks: HandBacks
    trials: Trials
    open_documents: OpenDocuments
    spawn: Spawn
    lease_seconds: float
    beat_seconds: float


class Stream:
    """An attached stream. ``spoken``: whether its worker has said anything since its welcome; ``over``: whether it has ended."""

    def __init__(self, parts: TrackerParts, attachment: Attachment, context: Any, *, draining: bool) -> None:
        self._parts, self._attachment, self._context = parts, attachment, context
        self._session = attachment.session
        welcome = tracker_answers.welcome(attachment, beat_seconds=parts.beat_seconds, lease_seconds=parts.lease_seconds)
        self.outbox = Outbox(welcome, draining=draining)
        self._unanswered, self._answered = 0, asyncio.Event()
        self._hand_backs = HandBackQueue(self._session, self.outbox, parts.handbacks, parts.trials, parts.sessions, done=self._answered.set)
        self._asked = AskedShards()
        self._to_read: asyncio.Queue[BegunShard] = asyncio.Queue()
        self._reading: set[tuple[int, int]] = set()
        self.spoken = self.over = False

    async def run(self) -> StreamEnd:
        """Reads and writes until the worker leaves or closes its end, does not take its answers or falls silent for its lease."""
        try:
            return await first_of(self._read(), self._hand_backs.run(), self._write(), self._outlive(), self._tell_begun())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self.over = True

    async def _read(self) -> StreamEnd:
        try:
            while (request := await self._context.read()) is not grpc.aio.EOF:
                self.spoken = True
                self._attachment.heard = time.monotonic()
                await self._take(request)
                await self._room()
        except grpc.aio.InternalError as error:  # the stream is gone
            return self._broken(error)
        await self._hand_backs.emptied()
        return StreamEnd.CLOSED

    async def _room(self) -> None:
        """Waits while so much of it is to be committed that the worker is to wait, too."""
        while self._unanswered + len(self._hand_backs) > MOST_UNANSWERED:
            self._answered.clear()
            await self._answered.wait()

    def _is_answered(self, weight: int) -> None:
        self._unanswered -= weight
        self._answered.set()

    async def _write(self) -> StreamEnd:
        while not self.outbox.closed:
            response = await self.outbox.take()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._context.write(response)
            except TimeoutError:
                return StreamEnd.STALLED
            except grpc.aio.InternalError as error:
                return self._broken(error)
        return StreamEnd.CUT

    def _broken(self, error: grpc.aio.InternalError) -> StreamEnd:
        log.info("The stream of session %d broke off: %r", self._session, error)
        return StreamEnd.CLOSED

    async def _outlive(self) -> StreamEnd:
        silent = 0
        while silent < LOOKS:
            heard = self._attachment.heard
            await asyncio.sleep(self._parts.lease_seconds / LOOKS)
            silent = silent + 1 if self._attachment.heard == heard else 0
        log.info("Session %d said nothing for its lease; its stream is ended.", self._session)
        return StreamEnd.SILENT

    async def _take(self, request: pb.TrackRequest) -> None:
        tracker_requests.check(request)
        if request.HasField("heartbeat"):
            self._beat(request.heartbeat)
        if request.begins or request.blocks:
            items: list[Begin | Report] = [self._begin(begin.shard) for begin in request.begins]
            blocks = zip(request.blocks, await tracker_requests.blocks(request), strict=True)
            items += [self._report(given, block) for given, block in blocks]
            self._unanswered += sum(item.weight for item in items)
            self._parts.committer.submit(items)
        self._hand_backs.add(request)

    def _begin(self, ref: pb.ShardRef) -> Begin:
        shard, number = ref.shard, ref.number
        self._asked.ask(shard)

        def answer(outcome: Begun, begun: BegunShard | None) -> None:
            self._is_answered(weight)
            self._asked.answered(shard)
            if begun is None:
                self.outbox.begin(tracker_answers.not_begun((shard, number), outcome))
            elif known := self._parts.open_documents.known(begun):
                self.outbox.begin(tracker_answers.begun(known))
            elif (shard, begun.number) not in self._reading:  # else the answer to that is the answer to this, too
                self._reading.add((shard, begun.number))
                self._to_read.put_nowait(begun)

        begin = Begin(self._session, shard, number, answer)
        weight = begin.weight
        return begin

    async def _tell_begun(self) -> StreamEnd:
        """Answers begins whose documents have to be read first, at once and beside each other."""
        async with asyncio.TaskGroup() as readings:
            while True:
                begun = await self._to_read.get()
                readings.create_task(self._tell(begun), name=f"documents of shard {begun.facts.id}")

    async def _tell(self, begun: BegunShard) -> None:
        while True:
            try:
                opened = await self._parts.open_documents.read(begun)
                self._reading.discard((begun.facts.id, begun.number))
                self.outbox.begin(tracker_answers.begun(opened))
                return
            except StoreUnavailableError as error:
                log.warning("The documents of shard %d are read again: %s", begun.facts.id, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _report(self, given: pb.Block, block: Block) -> Report:
        sequence, shard, number = given.sequence, given.shard.shard, given.shard.number  # the message itself is let go

        def answer(outcome: Recorded, done: bool, invalid: Sequence[int]) -> None:
            self._is_answered(weight)
            self.outbox.block(tracker_answers.block(sequence, (shard, number), outcome, done, invalid))

        report = Report(self._session, shard, number, block, answer, urgent=given.urgent)
        weight = report.weight  # as it was submitted: its block may be mended
        return report

    def _beat(self, heartbeat: pb.Heartbeat) -> None:
        count, sequence = self._asked.heartbeat(), heartbeat.sequence
        held = {ref.shard: (ref.number, ref.resize) for ref in heartbeat.held}

        def answer(standing: SessionStanding) -> None:
            if standing.beat is not None:
                self._attachment.beaten(standing.beat)
            self.outbox.heartbeat(tracker_answers.heartbeat(sequence, standing))

        def asked() -> set[int]:
            return self._asked.unnamed(count)

        said = heartbeat.draining, heartbeat.unsubscribed
        self._parts.heartbeats.submit(Beat(self._session, self._attachment.attached, *said, held, asked, answer, lambda: self.over))
