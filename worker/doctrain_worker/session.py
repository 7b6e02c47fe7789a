"""The worker's session: opened, kept by heartbeats, moved between coordinators, and fenced before anybody may take it back.

Children may run until ``lease - margin`` after the last *answered* heartbeat was *sent*; the guardian sees to it, whatever
state this process is in. A stream that ends is replaced within 0.4 s, or the session fences itself: by the time a
coordinator takes it back, nothing of it runs (PROTOCOL "Rules of the worker").
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from doctrain_mesh.v1 import tracker_pb2 as pb
from doctrain_worker.coordinators import Coordinators
from doctrain_worker.gate import Gate
from doctrain_worker.sandbox.link import Guardian
from doctrain_worker.stream import Stream, StreamEndedError, attached
from doctrain_worker.tracker import Key, Tracker

log = logging.getLogger(__name__)
REATTACH_SECONDS = 0.4
RETRY_SECONDS = 0.25
DETACHED = "detached"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the worker says of itself."""

    worker_id: str
    key: str
    lanes: int
    version: str
    margin_seconds: float


class Session:
    """Runs one session after another; ``run`` ends only by cancellation or when its guardian is lost.

    Args:
        held: the shards that the worker holds or asks for, for heartbeats.
        on_orders: called with each heartbeat's answer.
        on_lost: called when the session is over; returns once nothing of it runs in this process.
    """

    def __init__(
        self,
        identity: Identity,
        coordinators: Coordinators,
        guardian: Guardian,
        tracker: Tracker,
        gate: Gate,
        *,
        held: Callable[[], list[Key]],
        on_orders: Callable[[pb.HeartbeatAnswer], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._identity, self._coordinators, self._guardian, self._tracker, self._gate = identity, coordinators, guardian, tracker, gate
        self._held, self._on_orders, self._on_lost = held, on_orders, on_lost
        self.id = 0
        self.draining = False
        self.opened = asyncio.Event()
        self._predecessor = guardian.predecessor
        self._predecessor_end = pb.PREDECESSOR_END_DIED if self._predecessor else pb.PREDECESSOR_END_UNSPECIFIED
        self._lease = 0.0
        self._deadline = 0.0
        self._sent: dict[int, float] = {}
        self._beats = 0
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
        if self._stream is not None:
            await self._stream.goodbye(self._tracker, reason)

    async def _live(self) -> None:
        """One session, over as many streams as it takes; returns when it is over."""
        self._over.clear()
        detached = time.monotonic()
        while not self._over.is_set():
            async with AsyncExitStack() as stack:
                stream = await self._attach(stack, detached)
                if stream is None:
                    return
                await self._carry(stream)
            self._gate.close(DETACHED)
            self._stream = None
            detached = time.monotonic()

    async def _attach(self, stack: AsyncExitStack, detached: float) -> Stream | None:
        """A stream of this session, or of a new one when there is none; None when the session cannot be kept."""
        while True:
            for address in self._coordinators.addresses:
                hello = self._hello()
                try:
                    async with asyncio.timeout(None if not self.id else max(0.05, detached + REATTACH_SECONDS - time.monotonic())):
                        stream = await stack.enter_async_context(attached(self._coordinators.channel(address), self._identity.key, hello))
                except (StreamEndedError, TimeoutError) as error:
                    log.info("Coordinator %s: %s", address, error)
                    self._coordinators.failed(address)
                    continue
                if not self._welcomed(stream):
                    return None
                self._address = address
                return stream
            if self.id and time.monotonic() - detached >= REATTACH_SECONDS:
                log.warning("No coordinator took the session on within %g s.", REATTACH_SECONDS)
                return None
            await asyncio.sleep(RETRY_SECONDS if not self.id else 0.05)

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
        return not self._guardian.fenced

    async def _carry(self, stream: Stream) -> None:
        """Works over one stream until it ends, the session is over, or the coordinator asks to move."""
        self._stream, self._sent = stream, {}
        self._move.clear()
        self._gate.open(DETACHED)
        self.opened.set()
        tasks = {
            asyncio.create_task(stream.run(self._tracker, self._on_response), name="stream"),
            asyncio.create_task(self._beat(stream), name="heartbeats"),
            asyncio.create_task(self._move.wait(), name="move"),
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
        self._coordinators.failed(self._address)

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
            self._sent = {n: at for n, at in self._sent.items() if now - at < 2 * self._lease} | {self._beats: now}
            held = [pb.ShardRef(shard=shard, number=number) for shard, number in self._held()]
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
            log.warning("Session %d was taken back.", self.id)
            self._over.set()
            return
        sent = self._sent.pop(answer.sequence, None)
        if sent is not None and not self._extend(sent):
            self._over.set()
        self._on_orders(answer)

    async def _fence(self) -> None:
        """Nothing of the session runs afterwards, in this process or in children; the next one names it."""
        self._gate.close(DETACHED)
        self._on_lost()
        self._tracker.session_lost()
        await self._guardian.fence()
        self._predecessor, self._predecessor_end = self.id, pb.PREDECESSOR_END_SELF_FENCED
        self.id = 0
        self._stream = None
