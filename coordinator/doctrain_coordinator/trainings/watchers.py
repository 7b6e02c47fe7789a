"""The watch hub: one read a change for all watchers of this coordinator, and a mailbox each that holds the latest state only.

A watcher that is slow finds, when it comes back, the newest state and none of those between. Woken by ``Changes``, with a
slow poll behind it for what a lost NOTIFY would have told.

A watcher may have seen a state at another coordinator just before it came. So it gets nothing but what was read after that,
which is no earlier: all coordinators read one Postgres, and one read follows the other here.

However many trainings are watched, each read is of few: what makes one fail keeps the watchers of the others from nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence

from doctrain_coordinator import metrics
from doctrain_coordinator.changes import Bell, Changes
from doctrain_coordinator.trainings.reading import Seen, Trainings, removed_since
from doctrain_mesh.errors import DoctrainError, ShuttingDownError, StoreUnavailableError

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
TRAININGS_AT_ONCE = 200


class Mailbox:
    """The latest state of one training for one watcher, of the ``tenant`` alone."""

    def __init__(self, tenant: int) -> None:
        self._tenant = tenant
        self._latest: Seen | None = None
        self._arrived = asyncio.Event()
        self._end: DoctrainError | None = None

    def put(self, seen: Seen | None) -> None:
        """Replaces what is there; closed with TrainingNotFoundError where there is no such training, or it is another tenant's."""
        if seen is None or seen.training.tenant != self._tenant:
            self.close(removed_since())
            return
        self._latest = seen
        self._arrived.set()

    def close(self, reason: DoctrainError) -> None:
        """Nothing comes any more."""
        self._end = reason
        self._arrived.set()

    async def take(self, timeout_seconds: float) -> Seen | None:
        """The latest state once there is one; None at the timeout. Raises what it was closed with."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._arrived.wait()
        self._arrived.clear()
        latest, self._latest = self._latest, None
        if self._end is not None:
            raise self._end
        return latest


class WatchHub:
    """Reads trainings for all who watch them; each coordinator has one. ``run`` is supervised by the application."""

    def __init__(self, trainings: Trainings, changes: Changes) -> None:
        self._trainings, self._changes = trainings, changes
        self._mailboxes: dict[int, dict[Mailbox, None]] = {}
        self._dirty: set[int] = set()
        self._bell = Bell()
        self._closed = False

    @contextlib.contextmanager
    def watching(self, tenant: int, training: int) -> Iterator[Mailbox]:
        """A mailbox that gets the present state soon and every later one, while open; nothing that was read before.

        It is closed with TrainingNotFoundError where the training is another tenant's and once it is removed, and with ShuttingDownError
        when the hub goes away.
        """
        mailbox = Mailbox(tenant)
        if self._closed:
            mailbox.close(_shutting_down())
        self._mailboxes.setdefault(training, {})[mailbox] = None
        self._dirty.add(training)
        self._bell.ring()
        try:
            with metrics.WATCHERS.one():
                yield mailbox
        finally:
            boxes = self._mailboxes[training]
            boxes.pop(mailbox)
            if not boxes:
                del self._mailboxes[training]

    def close(self) -> None:
        """Sends every watcher to another coordinator."""
        self._closed = True
        for boxes in self._mailboxes.values():
            for mailbox in boxes:
                mailbox.close(_shutting_down())

    async def run(self) -> None:
        """Reads and delivers until cancelled."""
        clock = asyncio.get_running_loop().time
        poll_at = clock() + POLL_SECONDS
        with self._changes.listening(self._changed):
            while True:
                await self._bell.wait(poll_at)
                if clock() >= poll_at:  # also while one training after the other is told of: the poll is for those that are not
                    self._dirty.update(self._mailboxes)
                    poll_at = clock() + POLL_SECONDS
                wanted, self._dirty = self._dirty & self._mailboxes.keys(), set()
                if wanted:
                    await self._deliver(sorted(wanted))
                    await self._bell.rest()

    def _changed(self, trainings: frozenset[int] | None, only_counts: bool) -> None:
        watched = self._mailboxes.keys()
        touched = set(watched) if trainings is None else trainings & watched
        if touched:
            self._dirty |= touched
            self._bell.ring(only_counts=only_counts)

    async def _deliver(self, wanted: Sequence[int]) -> None:
        failed = False
        for start in range(0, len(wanted), TRAININGS_AT_ONCE):
            some = wanted[start : start + TRAININGS_AT_ONCE]
            try:
                await self._deliver_some(some)
            except StoreUnavailableError as error:
                log.warning("Watchers of %d trainings are told late: %s", len(some), error)
                self._dirty.update(some)
                failed = True
        if failed:
            await asyncio.sleep(RETRY_SECONDS)

    async def _deliver_some(self, wanted: Sequence[int]) -> None:
        # Whoever comes during the read waits for the next.
        waiting = {training: tuple(self._mailboxes[training]) for training in wanted if training in self._mailboxes}
        found = {seen.training.id: seen for seen in await self._trainings.of_any_tenant(waiting.keys())}
        for training, mailboxes in waiting.items():
            for mailbox in mailboxes:
                mailbox.put(found.get(training))


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError("This coordinator shuts down; watch on at another one.", retry_after_seconds=0.1)
