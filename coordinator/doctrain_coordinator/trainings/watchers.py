"""The watch hub: one read a change for all watchers of this coordinator, and a mailbox each that holds the latest state only.

A watcher that is slow finds, when it comes back, the newest state and none of those between. Woken by ``Changes``, with a
slow poll behind it for what a lost NOTIFY would have told.

A watcher may have seen a state at another coordinator just before it came. So it gets nothing but what was read after that,
which is no earlier: all coordinators read one Postgres, and one read follows the other here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.trainings.reading import Seen, Trainings
from doctrain_mesh.errors import ShuttingDownError, StoreUnavailableError

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
GAP_SECONDS = 0.02
RETRY_SECONDS = 0.5


class Mailbox:
    """The latest state of one training for one watcher."""

    def __init__(self) -> None:
        self._latest: Seen | None = None
        self._arrived = asyncio.Event()
        self.closed = False

    def put(self, seen: Seen) -> None:
        """Replaces what is there."""
        self._latest = seen
        self._arrived.set()

    def close(self) -> None:
        """The hub goes away."""
        self.closed = True
        self._arrived.set()

    async def take(self, timeout_seconds: float) -> Seen | None:
        """The latest state once there is one; None at the timeout. Raises ShuttingDownError."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._arrived.wait()
        self._arrived.clear()
        latest, self._latest = self._latest, None
        if self.closed:
            raise ShuttingDownError("This coordinator shuts down; watch on at another one.", retry_after_seconds=0.1)
        return latest


class WatchHub:
    """Reads trainings for all who watch them; each coordinator has one. ``run`` is supervised by the application."""

    def __init__(self, trainings: Trainings, changes: Changes) -> None:
        self._trainings, self._changes = trainings, changes
        self._mailboxes: dict[int, set[Mailbox]] = {}
        self._dirty: set[int] = set()
        self._woken = asyncio.Event()
        self._closed = False

    @contextlib.contextmanager
    def watching(self, training: int) -> Iterator[Mailbox]:
        """A mailbox that gets the present state soon and every later one, while open; nothing that was read before."""
        mailbox = Mailbox()
        if self._closed:
            mailbox.close()
        self._mailboxes.setdefault(training, set()).add(mailbox)
        self._dirty.add(training)
        self._woken.set()
        try:
            with metrics.WATCHERS.one():
                yield mailbox
        finally:
            boxes = self._mailboxes[training]
            boxes.discard(mailbox)
            if not boxes:
                del self._mailboxes[training]

    def close(self) -> None:
        """Sends every watcher to another coordinator."""
        self._closed = True
        for boxes in self._mailboxes.values():
            for mailbox in boxes:
                mailbox.close()

    async def run(self) -> None:
        """Reads and delivers until cancelled."""
        clock = asyncio.get_running_loop().time
        poll_at = clock() + POLL_SECONDS
        with self._changes.listening(self._changed):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(poll_at):
                        await self._woken.wait()
                if clock() >= poll_at:  # also while one training after the other is told of: the poll is for those that are not
                    self._dirty.update(self._mailboxes)
                    poll_at = clock() + POLL_SECONDS
                self._woken.clear()
                wanted, self._dirty = self._dirty & self._mailboxes.keys(), set()
                if wanted:
                    await self._deliver(wanted)
                    await asyncio.sleep(GAP_SECONDS)

    def _changed(self, trainings: frozenset[int] | None) -> None:
        watched = self._mailboxes.keys()
        touched = set(watched) if trainings is None else trainings & watched
        if touched:
            self._dirty |= touched
            self._woken.set()

    async def _deliver(self, wanted: set[int]) -> None:
        waiting = {training: tuple(self._mailboxes[training]) for training in wanted}  # whoever comes during the read waits for the next
        try:
            found = await self._trainings.read(wanted)
        except StoreUnavailableError as error:
            log.warning("Watchers are told late: %s", error)
            self._dirty |= wanted
            await asyncio.sleep(RETRY_SECONDS)
            return
        for seen in found:
            for mailbox in waiting[seen.training.id]:
                mailbox.put(seen)
