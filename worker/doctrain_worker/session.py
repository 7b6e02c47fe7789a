"""The worker's session: opened, kept by heartbeats, moved between coordinators, and fenced before anybody may take it back.

Children may run until ``lease - margin`` after the last *answered* heartbeat was *sent*; the guardian sees to it, whatever
state this process is in. A stream that ends is replaced within 0.4 s, or the session fences itself: by the time a
coordinator takes it back, nothing of it runs (PROTOCOL "Rules of the worker").
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.coordinators import Coordinators
from doctrain_worker.gate import Gate
from doctrain_worker.sandbox.link import Guardian
from doctrain_worker.stream import KeyRefusedError, Stream, StreamEndedError, attached
from doctrain_worker.tracker import Key, Tracker

log = logging.getLogger(__name__)
REATTACH_SECONDS = 0.4
WELCOME_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
STALL_BEATS = 2.5
STALL_SHARE = 0.3
"""A stream whose heartbeats stay unanswered for this share of the lease is left for another coordinator's."""

DETACHED = "detached"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the worker says of itself."""

    worker_id: str
    key: str
    lanes: int
    version: str
    margin_seconds: float


class Held(Protocol):
    """The shards that the worker holds or asks for."""

    def named(self) -> list[Key]:
        """All of them, for heartbeats."""

    def orders(self, answer: pb.HeartbeatAnswer) -> None:
        """A heartbeat was answered."""

    def lost(self) -> None:
        """The session is over: whatever runs is to end at once."""

    async def ended(self) -> None:
        """Returns once nothing runs in this process."""


@dataclass(frozen=True, slots=True)
class _Attachment:
    stream: Stream
    address: str
    closing: AsyncExitStack


class Session:
    """Runs one session after another; ``run`` ends only by cancellation or when its guardian is lost.

    ``opened`` is set while a session is open.
    """

    def __init__(
        self,
        identity: Identity,
        coordinators: Coordinators,
        guardian: Guardian,
        tracker: Tracker,
        gate: Gate,
        *,
        held: Held,
    ) -> None:
        self._identity, self._coordinators, self._guardian, self._tracker, self._gate = identity, coordinators, guardian, tracker, gate
        self._held = held
        self.id = 0
        self.draining = False
        self.opened = asyncio.Event()
        self._predecessor = guardian.predecessor
        self._predecessor_end = pb.PREDECESSOR_END_DIED if self._predecessor else pb.PREDECESSOR_END_UNSPECIFIED
        self._lease = 0.0
        self._deadline = 0.0
        self._sent: dict[int, float] = {}
        self._beats = 0
        self._heard = 0.0
        self._succeeding = False
        self._left = False
        self._refusals: dict[str, str] = {}
        self._stream: Stream | None = None
        self._move = asyncio.Event()
        self._over = asyncio.Event()
        gate.close(DETACHED)

    async def run(self) -> None:
        """Opens sessions and keeps them until cancelled."""
        while True:
            await self._live()
            await self._fence()

    async def goodbye(self, reason: str) -> None:
        """Ends the session in order; nothing of it may run."""
        self._left = True
        if self._stream is not None:
            await self._stream.goodbye(self._tracker, reason)

    def lost(self) -> None:
        """A coordinator answered that the session was taken back."""
        if not self._over.is_set():
            log.warning("Session %d was taken back.", self.id)
        self._over.set()
        self.opened.clear()

    async def _live(self) -> None:
        """One session, over as many streams as it takes; returns when it is over."""
        self._over.clear()
        attachment = await self._attach(time.monotonic())
        while attachment is not None and not self._over.is_set():
            async with attachment.closing:
                successor = await self._carry(attachment)
            if successor is None and not self._over.is_set():
                self._gate.close(DETACHED)
                self._stream = None
                if self._left:
                    await asyncio.Event().wait()  # nothing of it is left to keep; whoever said goodbye cancels
                successor = await self._attach(time.monotonic())
            attachment = successor
        if attachment is not None:
            await attachment.closing.aclose()

    async def _attach(self, detached: float) -> _Attachment | None:
        """A stream of this session, or of a new one when there is none; None when the session cannot be kept."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            addresses = self._coordinators.addresses
            for place, address in enumerate(addresses):
                left = detached + REATTACH_SECONDS - time.monotonic()
                attachment = await self._try(address, max(0.05, left / (len(addresses) - place)) if self.id else WELCOME_SECONDS)
                if attachment is not None:
                    return attachment
                if self._over.is_set():
                    return None
            if not self.id:
                self._coordinators.check_key()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that a fleet does not come at once
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            elif time.monotonic() - detached >= REATTACH_SECONDS:
                log.warning("No coordinator took session %d on within %g s.", self.id, REATTACH_SECONDS)
                return None
            else:
                await asyncio.sleep(0.05)

    async def _try(self, address: str, seconds: float) -> _Attachment | None:
        """One attempt; None when the coordinator does not welcome the session. Sets ``_over`` when the session is lost."""
        closing = AsyncExitStack()
        try:
            stream = await closing.enter_async_context(
                attached(self._coordinators.channel(address), self._identity.key, self._hello(), seconds)
            )
        except StreamEndedError as error:
            # A person looks for why a worker does not start: once at each new reason, not at each attempt.
            log.log(logging.DEBUG if str(error) == self._refusals.get(address) else logging.WARNING, "Coordinator %s: %s", address, error)
            self._refusals[address] = str(error)
            self._coordinators.failed(address, refused=isinstance(error, KeyRefusedError))
            return None
        self._refusals.pop(address, None)
        if not self._welcomed(stream):
            self._over.set()
            await closing.aclose()
            return None
        return _Attachment(stream, address, closing)

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            worker_id=self._identity.worker_id,
            session=self.id,
            predecessor=0 if self.id else self._predecessor,
            predecessor_end=pb.PREDECESSOR_END_UNSPECIFIED if self.id else self._predecessor_end,
            lanes=self._identity.lanes,
            version=self._identity.version,
        )

    def _welcomed(self, stream: Stream) -> bool:
        welcome = stream.welcome
        if not welcome.session:
            log.warning("Session %d was taken back.", self.id)
            return False
        if not self.id:
            self.id = welcome.session
            self._guardian.note_session(self.id)
            self._deadline = 0.0
            log.info("Session %d is open.", self.id)
        self._lease = welcome.lease_ms / 1000
        return self._extend(stream.opened)

    def _extend(self, sent: float) -> bool:
        """What was sent at that time was answered: children may run on."""
        deadline = sent + self._lease - self._identity.margin_seconds
        self._guardian.extend(deadline)
        self._deadline = max(self._deadline, deadline)
        self._gate.extend(self._deadline)
        return not self._guardian.fenced

    async def _carry(self, attachment: _Attachment) -> _Attachment | None:
        """Works over one stream until it ends, the session is over, or another stream has taken over, which it answers."""
        stream = self._stream = attachment.stream
        self._sent, self._heard, self._succeeding = {}, stream.opened, False
        self._move.clear()
        self._gate.open(DETACHED)
        self.opened.set()
        successor = asyncio.create_task(self._succeed(attachment.address), name="the next stream")
        tasks: set[asyncio.Task[Any]] = {
            successor,
            asyncio.create_task(stream.run(self._tracker, self._on_response), name="stream"),
            asyncio.create_task(self._beat(stream), name="heartbeats"),
            asyncio.create_task(self._over.wait(), name="over"),
            asyncio.create_task(self._watch_guardian(), name="guardian"),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, StreamEndedError):
                    raise error
                log.info("%s", error)
        self._coordinators.failed(attachment.address)
        return None if successor.cancelled() else successor.result()

    async def _succeed(self, address: str) -> _Attachment | None:
        """Once asked to move, a stream to another coordinator; the one in use works on until then."""
        await self._move.wait()
        while True:
            for other in self._coordinators.addresses:
                if other == address:
                    continue
                self._succeeding = True
                attachment = await self._try(other, WELCOME_SECONDS)
                if attachment is not None or self._over.is_set():
                    return attachment
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _watch_guardian(self) -> None:
        """The session is over when its children were killed; a guardian that is lost ends the worker."""
        why = await self._guardian.wait_fenced()
        log.warning("Session %d was fenced by its guardian: %s.", self.id, why)
        self._over.set()

    async def _beat(self, stream: Stream) -> None:
        """Heartbeats on one stream; ends the session when they stay unanswered for too long."""
        pause = stream.welcome.beat_ms / 1000
        while True:
            self._beats += 1
            now = time.monotonic()
            if self._guardian.fenced or now > self._deadline:
                log.warning("Session %d heard nothing in time and fences itself.", self.id)
                self._over.set()
                return
            if now - self._heard > max(STALL_BEATS * pause, self._lease * STALL_SHARE):
                self._move.set()
            self._sent = {n: at for n, at in self._sent.items() if now - at < 2 * self._lease} | {self._beats: now}
            held = [pb.ShardRef(shard=shard, number=number) for shard, number in self._held.named()]
            stream.beat(pb.Heartbeat(sequence=self._beats, held=held, draining=self.draining))
            self._tracker.wakeup.set()
            await asyncio.sleep(pause)

    def _on_response(self, response: pb.TrackResponse) -> None:
        if response.draining:
            self._move.set()
        if not response.HasField("heartbeat"):
            return
        answer = response.heartbeat
        if answer.session_lost:
            # While a next stream is being attached, this one's beats count for nothing, and that is all this answer may mean.
            if not self._succeeding:
                self.lost()
            return
        self._heard = time.monotonic()
        sent = self._sent.pop(answer.sequence, None)
        if sent is not None and not self._extend(sent):
            self._over.set()
        self._held.orders(answer)

    async def _fence(self) -> None:
        """Nothing of the session runs afterwards, in this process or in children; the next one names it."""
        self._gate.close(DETACHED)
        self.opened.clear()
        self._stream = None
        self._held.lost()
        self._tracker.session_lost()
        await self._guardian.fence()
        await self._held.ended()
        if self.id:
            self._predecessor, self._predecessor_end = self.id, pb.PREDECESSOR_END_SELF_FENCED
        self.id = 0
