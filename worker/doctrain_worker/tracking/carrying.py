"""One stream of a session, carried until it ends, until another takes over, or until the session is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from doctrain_mesh.supervise import first_of
from doctrain_worker.core.tenure import REATTACH_SECONDS, WELCOME_SECONDS, Step
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.tracking.attaching import FIRST_PAUSE_SECONDS, Attaching, Attachment
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.exchange import Heard, Heartbeat, HeartbeatAnswer, Key
from doctrain_worker.tracking.lifetime import Lifetime
from doctrain_worker.tracking.stream import Attempt

log = logging.getLogger(__name__)


class Held(Protocol):
    """The shards that the worker holds or asks for."""

    @property
    def draining(self) -> bool:
        """Whether it takes no more."""

    def named(self) -> Mapping[Key, int]:
        """All of them, for heartbeats, each with the last change of its width that is in force."""

    def orders(self, answer: HeartbeatAnswer) -> None:
        """A heartbeat was answered."""

    def lost(self) -> None:
        """The session is over: whatever runs is to end at once."""

    async def ended(self) -> None:
        """Returns once nothing runs in this process; raises OperationTimeoutError when that takes too long."""


class Carrying:
    """Of one attachment. ``run`` once."""

    def __init__(
        self,
        attachment: Attachment,
        *,
        lifetime: Lifetime,
        attaching: Attaching,
        coordinators: Coordinators,
        guardian: Guardian,
        held: Held,
    ) -> None:
        self._stream, self._address = attachment.stream, attachment.address
        self._lifetime, self._attaching, self._coordinators, self._guardian = lifetime, attaching, coordinators, guardian
        self._held = held
        self._tenure = lifetime.tenure
        self._move = asyncio.Event()
        self._asked: Attempt | None = None
        self._successor: Attachment | None = None
        self._left = [self._address]

    async def run(self) -> Attachment | None:
        """Works over the stream; answers the one that takes over, if any does, which is the caller's to close.

        None: the stream ended, or is left like one that did. ``Lifetime.over`` tells whether the session goes on; a stream that was
        to take over may be answered all the same. Raises GuardianLostError.
        """
        self._lifetime.carried(self._stream.opened)
        try:
            await first_of(self._carry(), self._beat(), self._find_successor(), self._watch_guardian(), self._watch_end())
        except BaseException:
            if self._successor is not None:
                await self._successor.closing.aclose()
            raise
        for address in self._left:
            self._coordinators.last(address)
        return self._successor

    async def _carry(self) -> None:
        why = await self._stream.run(self._on_response)
        log.info("%s: %s", self._lifetime.named[1], why)

    def _on_response(self, heard: Heard) -> None:
        if heard.draining:
            self._move.set()
        answer = heard.heartbeat
        if answer is None:
            return
        step = self._tenure.answered(answer.number, time.monotonic(), lost=answer.session_lost)
        if step is Step.FENCE:
            self._lifetime.lost()
        elif step is Step.HURRY and self._asked is not None:
            self._asked.hurry(REATTACH_SECONDS)
        elif not answer.session_lost:
            if not self._lifetime.extend():
                self._lifetime.end()
            self._lifetime.told(cordoned=answer.cordoned)
            self._held.orders(answer)

    async def _beat(self) -> None:
        """Heartbeats, until their answers or the want of them end the session."""
        while True:
            number, step = self._tenure.beat(time.monotonic())
            if self._guardian.fenced or step is Step.FENCE:
                log.warning("Session %d of %s heard nothing in time and fences itself.", *self._lifetime.named)
                self._lifetime.end()
                return
            if step is Step.MOVE:
                self._move.set()
            held, lifetime = self._held, self._lifetime
            self._stream.beat(Heartbeat(number, held.named(), held.draining, lifetime.unsubscribed))
            await asyncio.sleep(self._stream.welcome.beat_seconds)

    async def _find_successor(self) -> None:
        """Once asked to move, a stream to another coordinator; this one works on until then.

        Returns without one when it is not known who has the session: whoever may, was asked last and is asked last again.
        """
        await self._move.wait()
        while True:
            for other in self._coordinators.addresses():
                if other == self._address:
                    continue
                self._tenure.asking()
                attempt = self._asked = Attempt(WELCOME_SECONDS)
                try:
                    found = await self._attaching.attempt(other, attempt)
                finally:
                    self._asked = None
                if isinstance(found, Attachment):
                    self._successor = found
                    return
                if self._tenure.missed(told=attempt.told) is Step.REATTACH:
                    self._left.append(other)
                    return
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _watch_guardian(self) -> None:
        """The session is over when its children were killed; a guardian that is lost ends the worker."""
        why = await self._guardian.wait_fenced()
        log.warning("Session %d of %s was fenced by its guardian: %s.", *self._lifetime.named, why)
        self._lifetime.end()

    async def _watch_end(self) -> None:
        await self._lifetime.over.wait()
