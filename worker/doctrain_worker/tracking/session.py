"""The worker's session: opened, kept by heartbeats, moved between coordinators, and fenced before anybody may take it back.

Whether it goes on, moves or ends is decided in ``core.tenure``; here it is done. The guardian sees to the deadline, whatever
state this process is in: by the time a coordinator takes the session back, nothing of it runs (docs/protocol.md, "Rules of the worker").
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.supervise import first_of
from doctrain_worker.core.tenure import REATTACH_SECONDS, WELCOME_SECONDS, Step, Tenure
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.shared.memory import Predecessor
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.exchange import Heard, Heartbeat, HeartbeatAnswer, Hello, Key
from doctrain_worker.tracking.gate import Gate, Shut
from doctrain_worker.tracking.stream import Attempt, KeyRefusedError, NotAttachedError, Stream, attached
from doctrain_worker.tracking.tracker import Tracker

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
BETWEEN_ROUNDS_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Identity:
    """What the worker says of itself."""

    worker_id: str
    key: str
    lanes: int
    version: str
    margin_seconds: float

    def hello(self, session: int, secret: bytes, predecessor: Predecessor) -> Hello:
        """Asks for another stream of a session, with its secret, or for a new one (0) after its predecessor."""
        return Hello(self.worker_id, self.lanes, self.version, session, secret, predecessor)


class Held(Protocol):
    """The shards that the worker holds or asks for."""

    def named(self) -> list[Key]:
        """All of them, for heartbeats."""

    def orders(self, answer: HeartbeatAnswer) -> None:
        """A heartbeat was answered."""

    def lost(self) -> None:
        """The session is over: whatever runs is to end at once."""

    async def ended(self) -> None:
        """Returns once nothing runs in this process; raises OperationTimeoutError when that takes too long."""


@dataclass(frozen=True, slots=True)
class _Attachment:
    stream: Stream
    address: str
    closing: AsyncExitStack


class Session:
    """Runs one session after another; ``run`` ends only by cancellation, when its guardian is lost or a setting is wrong.

    ``opened`` is set while a session is open.
    """

    def __init__(self, identity: Identity, coordinators: Coordinators, guardian: Guardian, tracker: Tracker, gate: Gate) -> None:
        self._identity, self._coordinators, self._guardian, self._tracker, self._gate = identity, coordinators, guardian, tracker, gate
        self.draining = False
        self.opened = asyncio.Event()
        self._tenure = Tenure(identity.margin_seconds)
        self._predecessor = guardian.predecessor
        self._secret = b""
        self._attempt: Attempt | None = None
        self._stream: Stream | None = None
        self._successor: _Attachment | None = None
        self._left = False
        self._move = asyncio.Event()
        self._over = asyncio.Event()
        gate.close(Shut.DETACHED)

    @property
    def id(self) -> int:
        """The session's key; 0 while there is none."""
        return self._tenure.session

    async def run(self, held: Held) -> None:
        """Opens sessions and keeps them until cancelled; what is ``held`` is held in them."""
        while True:
            await self._live(held)
            await self._fence(held)

    async def goodbye(self, reason: str) -> None:
        """Ends the session in order; nothing of it may run."""
        self._left = True
        if self._stream is not None:
            await self._stream.goodbye(reason)

    def lost(self) -> None:
        """A coordinator answered that the session was taken back."""
        if not self._over.is_set():
            log.warning("Session %d of %s was taken back.", self.id, self._identity.worker_id)
        self._end()

    def children_stopped(self) -> None:
        """A document found its children killed: if the guardian killed all, the session is over before its word arrives."""
        if self._guardian.fenced:
            self._end()

    def _end(self) -> None:
        self._over.set()
        self.opened.clear()

    async def _live(self, held: Held) -> None:
        """One session, over as many streams as it takes; returns when it is over."""
        self._over.clear()
        self._detach()
        attachment = await self._attach()
        try:
            while attachment is not None:
                async with attachment.closing:
                    await self._carry(attachment, held)
                    if self._successor is None:
                        self._detach()
                if self._over.is_set():
                    return
                if self._successor is None and self._left:
                    await asyncio.Event().wait()  # nothing of it is left to keep; whoever said goodbye cancels
                attachment = self._successor or await self._attach()
        finally:
            if self._successor is not None:
                await self._successor.closing.aclose()

    def _detach(self) -> None:
        self._gate.close(Shut.DETACHED)
        self._stream = None
        self._tenure.detached(time.monotonic())

    async def _attach(self) -> _Attachment | None:
        """A stream of this session, or of a new one when there is none; None when the session cannot be kept."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            addresses = self._coordinators.addresses()
            for place, address in enumerate(addresses):
                seconds = self._tenure.attempt_seconds(time.monotonic(), len(addresses) - place)
                if seconds is None:
                    break
                attachment = await self._try(address, Attempt(seconds))
                if attachment is not None or self._over.is_set():
                    return attachment
            seconds = self._tenure.attempt_seconds(time.monotonic(), 1)
            if seconds is None:
                log.warning("No coordinator took session %d of %s on within %g s.", self.id, self._identity.worker_id, REATTACH_SECONDS)
                return None
            if self.id:
                await asyncio.sleep(min(seconds, BETWEEN_ROUNDS_SECONDS))
            else:
                self._coordinators.check_key()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that a fleet does not come at once
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _try(self, address: str, attempt: Attempt) -> _Attachment | None:
        """One attempt; None when the coordinator does not welcome the session. Sets ``_over`` when the session is lost."""
        hello = self._identity.hello(self.id, self._secret, self._predecessor)
        async with AsyncExitStack() as closing:
            self._attempt = attempt
            try:
                channel = await closing.enter_async_context(self._coordinators.connection(address))
                stream = await closing.enter_async_context(attached(channel, self._identity.key, hello, attempt, self._tracker))
            except NotAttachedError as error:
                self._coordinators.failed(address, str(error), key_refused=isinstance(error, KeyRefusedError))
                return None
            finally:
                self._attempt = None
            self._coordinators.succeeded(address)
            if self._welcomed(stream):
                return _Attachment(stream, address, closing.pop_all())
            self._end()
        return None

    def _welcomed(self, stream: Stream) -> bool:
        welcome = stream.welcome
        lease, beat = welcome.lease_seconds, welcome.beat_seconds
        if not welcome.session:
            log.warning("Session %d of %s was taken back.", self.id, self._identity.worker_id)
            return False
        if not self._tenure.fits(lease, beat):
            raise ConfigurationError(
                f"DOCTRAIN_FENCE_MARGIN_SECONDS is {self._identity.margin_seconds:g} here, but the coordinators' lease is {lease:g} s with "
                f"a heartbeat every {beat:g} s: the worker would stop its own work while all is well. Make the margin at most half of the "
                "lease, and shorter than the lease by more than two heartbeats."
            )
        if not self.id:
            self._secret = welcome.secret
            self._guardian.note_session(welcome.session, welcome.secret)
            log.info("%s is in session %d.", self._identity.worker_id, welcome.session)
        self._tenure.welcomed(welcome.session, lease, beat, stream.opened)
        return self._extend()

    def _extend(self) -> bool:
        """Children may run on until the deadline that the tenure has now; answers whether they do."""
        self._guardian.extend(self._tenure.deadline)
        self._gate.extend(self._tenure.deadline)
        return not self._guardian.fenced

    async def _carry(self, attachment: _Attachment, held: Held) -> None:
        """Works over one stream until it ends, the session is over, or it is left; ``_successor`` is what takes over, if anything does."""
        stream = self._stream = attachment.stream
        self._successor = None
        missed: list[str] = []
        self._tenure.carried(stream.opened)
        self._move.clear()
        self._gate.open(Shut.DETACHED)
        self.opened.set()
        await first_of(
            self._run_stream(stream, held),
            self._beat(stream, held),
            self._succeed(attachment.address, missed),
            self._watch_guardian(),
            self._watch_end(),
        )
        for address in (attachment.address, *missed):
            self._coordinators.last(address)

    async def _run_stream(self, stream: Stream, held: Held) -> None:
        why = await stream.run(lambda response: self._on_response(response, held))
        log.info("%s: %s", self._identity.worker_id, why)

    async def _succeed(self, address: str, missed: list[str]) -> None:
        """Once asked to move, a stream to another coordinator; the one in use works on until then. Notes who may have missed it."""
        await self._move.wait()
        while True:
            for other in self._coordinators.addresses():
                if other == address:
                    continue
                attempt = Attempt(WELCOME_SECONDS)
                self._tenure.asking()
                self._successor = await self._try(other, attempt)
                if self._successor is not None:
                    return
                if self._tenure.missed(told=attempt.told) is Step.REATTACH:
                    missed.append(other)
                    return
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _watch_guardian(self) -> None:
        """The session is over when its children were killed; a guardian that is lost ends the worker."""
        why = await self._guardian.wait_fenced()
        log.warning("Session %d of %s was fenced by its guardian: %s.", self.id, self._identity.worker_id, why)
        self._end()

    async def _watch_end(self) -> None:
        await self._over.wait()

    async def _beat(self, stream: Stream, held: Held) -> None:
        """Heartbeats on one stream, until their answers or the want of them end it."""
        pause = stream.welcome.beat_seconds
        while True:
            number, step = self._tenure.beat(time.monotonic())
            if self._guardian.fenced or step is Step.FENCE:
                log.warning("Session %d of %s heard nothing in time and fences itself.", self.id, self._identity.worker_id)
                self._end()
                return
            if step is Step.MOVE:
                self._move.set()
            stream.beat(Heartbeat(number, held.named(), self.draining))
            await asyncio.sleep(pause)

    def _on_response(self, response: Heard, held: Held) -> None:
        if response.draining:
            self._move.set()
        answer = response.heartbeat
        if answer is None:
            return
        step = self._tenure.answered(answer.number, time.monotonic(), lost=answer.session_lost)
        if step is Step.FENCE:
            self.lost()
        elif step is Step.HURRY and self._attempt is not None:
            self._attempt.hurry(REATTACH_SECONDS)
        elif not answer.session_lost:
            if not self._extend():
                self._end()
            held.orders(answer)

    async def _fence(self, held: Held) -> None:
        """Nothing of the session runs afterwards, in this process or in children; the next one names it."""
        self._gate.close(Shut.DETACHED)
        self.opened.clear()
        self._stream = None
        held.lost()
        self._tracker.session_lost()
        await self._guardian.fence()
        await held.ended()
        if session := self._tenure.ended():
            self._predecessor = Predecessor(session, self_fenced=True, secret=self._secret)
            self._secret = b""
