"""The worker's session: opened, carried by one stream after another, and fenced before anybody may take it back.

Whether it goes on, moves or ends is decided in ``core.tenure``; here it is done: ``attaching`` gets a stream, ``carrying`` works over
one, ``lifetime`` knows how long. The guardian sees to the deadline, whatever state this process is in: by the time a coordinator takes
the session back, nothing of it runs (docs/protocol.md, "Rules of the worker").
"""

from __future__ import annotations

import asyncio
import time

from doctrain_worker import metrics
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.tracking.attaching import Attaching, Attachment
from doctrain_worker.tracking.carrying import Carrying, Held
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.gate import Gate
from doctrain_worker.tracking.intake import Intake
from doctrain_worker.tracking.lifetime import Identity, Lifetime
from doctrain_worker.tracking.stream import Stream
from doctrain_worker.tracking.tracker import Tracker


class Session:
    """Runs one session after another; ``run`` ends only by cancellation, when its guardian is lost or a setting is wrong."""

    def __init__(
        self, identity: Identity, coordinators: Coordinators, guardian: Guardian, tracker: Tracker, *, gate: Gate, intake: Intake
    ) -> None:
        self._coordinators, self._guardian, self._tracker = coordinators, guardian, tracker
        self._lifetime = Lifetime(identity, guardian, gate, intake)
        self._attaching = Attaching(identity.key, coordinators, tracker, self._lifetime)
        self._stream: Stream | None = None
        self._said_goodbye = False

    @property
    def id(self) -> int:
        """The session's key; 0 while there is none."""
        return self._lifetime.session

    @property
    def opened(self) -> asyncio.Event:
        """Set while a session is open."""
        return self._lifetime.opened

    @property
    def silence_seconds(self) -> float | None:
        """Time since a heartbeat was answered; None without a session."""
        return self._lifetime.tenure.silence(time.monotonic()) if self.opened.is_set() else None

    async def run(self, held: Held) -> None:
        """Opens sessions and keeps them until cancelled; what is ``held`` is held in them."""
        while True:
            await self._live(held)
            await self._fence(held)

    async def goodbye(self, reason: str) -> None:
        """Ends the session in order; nothing of it may run."""
        self._said_goodbye = True
        if self._stream is not None:
            await self._stream.goodbye(reason)

    def lost(self) -> None:
        """A coordinator answered that the session was taken back."""
        self._lifetime.lost()

    def children_stopped(self) -> None:
        """A document found its children killed: if the guardian killed all, the session is over before its word arrives."""
        if self._guardian.fenced:
            self._lifetime.end()

    async def _live(self, held: Held) -> None:
        """One session, over as many streams as it takes; returns when it is over."""
        self._lifetime.begins()
        self._detached()
        attachment = await self._attaching.attach()
        try:
            while attachment is not None:
                async with attachment.closing:
                    attachment = await self._carried(attachment, held)
                if self._lifetime.over.is_set():
                    return
                if attachment is None:
                    attachment = await self._attached_again()
        finally:
            if attachment is not None:
                await attachment.closing.aclose()

    async def _carried(self, attachment: Attachment, held: Held) -> Attachment | None:
        """Works over one stream; answers what takes over, if anything does."""
        self._stream = attachment.stream
        carrying = Carrying(
            attachment,
            lifetime=self._lifetime,
            attaching=self._attaching,
            coordinators=self._coordinators,
            guardian=self._guardian,
            held=held,
        )
        successor = await carrying.run()
        if successor is None:
            self._detached()
        return successor

    async def _attached_again(self) -> Attachment | None:
        if self._said_goodbye:
            await asyncio.Event().wait()  # nothing of it is left to keep; whoever said goodbye cancels
        return await self._attaching.attach()

    def _detached(self) -> None:
        self._stream = None
        self._lifetime.detached()

    async def _fence(self, held: Held) -> None:
        """Nothing of the session runs afterwards, in this process or in children; the next one names it."""
        metrics.FENCES.add(1)
        self._lifetime.shut()
        self._stream = None
        held.lost()
        self._tracker.session_lost()
        await self._guardian.fence()
        await held.ended()
        self._lifetime.fenced()
