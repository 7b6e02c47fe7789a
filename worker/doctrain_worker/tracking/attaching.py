"""From the coordinators' addresses to an attached stream: one try after another, each with its time, and pauses between rounds."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum

from doctrain_worker.core.tenure import REATTACH_SECONDS
from doctrain_worker.tracking.coordinators import Coordinators
from doctrain_worker.tracking.lifetime import Lifetime
from doctrain_worker.tracking.stream import Attempt, KeyRefusedError, NotAttachedError, Stream, attached
from doctrain_worker.tracking.tracker import Tracker

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
BETWEEN_ROUNDS_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stream to the coordinator at ``address``; whoever has it closes it by ``closing``."""

    stream: Stream
    address: str
    closing: AsyncExitStack


class Unattached(Enum):
    """Why a try gave no stream: that coordinator has none for us, or the session is over."""

    NOT_WELCOME = 1
    OVER = 2


class Attaching:
    """Asks coordinators for streams of the session that the ``lifetime`` is of, or for a new one, with the worker's key."""

    def __init__(self, key: str, coordinators: Coordinators, tracker: Tracker, lifetime: Lifetime) -> None:
        self._key, self._coordinators, self._tracker, self._lifetime = key, coordinators, tracker, lifetime

    async def attach(self) -> Attachment | None:
        """A stream of this session, or of a new one when there is none; None when the session cannot be kept.

        Raises ConfigurationError when every coordinator refused the key.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            found = await self._round()
            if isinstance(found, Attachment):
                return found
            if found is Unattached.OVER:
                return None
            seconds = self._seconds(1)
            if seconds is None:
                log.warning("No coordinator took session %d of %s on within %g s.", *self._lifetime.named, REATTACH_SECONDS)
                return None
            if self._lifetime.session:
                await asyncio.sleep(min(seconds, BETWEEN_ROUNDS_SECONDS))
            else:
                self._coordinators.check_key()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that a fleet does not come at once
                pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _round(self) -> Attachment | Unattached:
        """Each coordinator once, as long as there is time."""
        addresses = self._coordinators.addresses()
        for place, address in enumerate(addresses):
            seconds = self._seconds(len(addresses) - place)
            if seconds is None:
                break
            found = await self.attempt(address, Attempt(seconds))
            if isinstance(found, Attachment):
                return found
            if self._lifetime.over.is_set():
                return Unattached.OVER
        return Unattached.NOT_WELCOME

    def _seconds(self, candidates: int) -> float | None:
        return self._lifetime.tenure.attempt_seconds(time.monotonic(), candidates)

    async def attempt(self, address: str, attempt: Attempt) -> Attachment | Unattached:
        """One try. Ends the session when the coordinator answers that it is lost, or its children were stopped meanwhile."""
        lifetime = self._lifetime
        async with AsyncExitStack() as closing:
            try:
                channel = await closing.enter_async_context(self._coordinators.connection(address))
                stream = await closing.enter_async_context(attached(channel, self._key, lifetime.hello, attempt, self._tracker))
            except NotAttachedError as error:
                self._coordinators.failed(address, str(error), key_refused=isinstance(error, KeyRefusedError))
                return Unattached.NOT_WELCOME
            self._coordinators.succeeded(address)
            if lifetime.welcomed(stream.welcome, stream.opened):
                return Attachment(stream, address, closing.pop_all())
            lifetime.end()
        return Unattached.OVER
