"""What this coordinator's commits changed and what the others' did: wakes local waiters at once, tells the others by NOTIFY.

NOTIFY takes a lock of the whole database at its commit, so it never rides in a group commit: a task of its own sends what
has gathered, seldom. A LISTEN connection may die without a word, so whoever waits here also polls.

Where documents are cheap, telling of every commit would take a tenth of the machine: counts that only went on are told ten times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

from doctrain_coordinator.store.database import Database
from doctrain_mesh import postgres
from doctrain_mesh.errors import StoreUnavailableError
from doctrain_mesh.postgres import Connection, statements

log = logging.getLogger(__name__)
SQL = statements.of(__name__)
CHANNEL = "doctrain"
GAP_SECONDS = 0.02
COUNTS_GAP_SECONDS = 0.1
PROBE_SECONDS = 5.0
RETRY_SECONDS = 1.0
WORK = "work"
COUNTS = "counts"
# NOTIFY carries at most 8,000 bytes; with more trainings changed than this, listeners are told that any may have.
MOST_NAMED = 300
ANY = "any"

Listener = Callable[[frozenset[int] | None, bool], None]
"""Called with the trainings that changed, None: any may have; and with whether only counts did."""


class Bell:
    """Who tells of changes waits for it, and rests after each time: shortly, or longer while only counts change."""

    def __init__(self) -> None:
        self._rung, self._state = asyncio.Event(), asyncio.Event()

    def ring(self, *, only_counts: bool = False) -> None:
        """There is something to tell."""
        self._rung.set()
        if not only_counts:
            self._state.set()

    async def wait(self, until: float) -> bool:
        """Whether it was rung before that time of the loop's clock; what rang until now is told with it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        self._state.clear()
        return rung

    async def rest(self) -> None:
        """Until the next may be told."""
        await asyncio.sleep(GAP_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNTS_GAP_SECONDS - GAP_SECONDS):
                await self._state.wait()


class Changes:
    """Tells a coordinator's parts what changed; it has one. ``run`` is supervised by the application."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[Listener, None] = {}
        self._work = Bell()
        self._untold_trainings: set[int] = set()
        self._untold_work, self._untold_state = False, False
        self._untold = Bell()

    def trainings(self, ids: Iterable[int], *, only_counts: bool = False) -> None:
        """These trainings were changed by a commit of this coordinator; ``only_counts``: it moved on no more of them."""
        changed = frozenset(ids)
        if changed:
            self._tell(changed, only_counts)
            self._untold_trainings |= changed
            self._untold_state = self._untold_state or not only_counts
            self._untold.ring(only_counts=only_counts)

    def work(self) -> None:
        """Shards may be granted now: a load, a freed slot, a new session."""
        self._work.ring()
        self._untold_work = True
        self._untold.ring()

    async def wait_for_work(self, timeout_seconds: float) -> bool:
        """Waits to be woken; answers False at the timeout. What came since the last call counts."""
        return await self._work.wait(asyncio.get_running_loop().time() + timeout_seconds)

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Calls ``listener`` at every change, of whichever coordinator, while open."""
        self._listeners[listener] = None
        try:
            yield
        finally:
            self._listeners.pop(listener)

    async def run(self) -> None:
        """Listens and tells until cancelled; a lost connection is opened again."""
        while True:
            try:
                await self._session()
            except StoreUnavailableError as error:
                log.warning("Changes of other coordinators are seen late until Postgres is back: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _session(self) -> None:
        connection = await self._database.connect(settings={"application_name": "doctrain changes"}, command_seconds=10)
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            async with postgres.available("listening for changes", connection):
                await connection.add_listener(CHANNEL, self._heard)
                self._tell(None, False)
                self._work.ring()
                while not ended.is_set():
                    await self._tell_others(connection)
        finally:
            await postgres.close_connection(connection)

    async def _tell_others(self, connection: Connection) -> None:
        if not await self._untold.wait(asyncio.get_running_loop().time() + PROBE_SECONDS):
            await connection.execute("select 1")
            return
        named, work, state = self._untold_trainings, self._untold_work, self._untold_state
        self._untold_trainings, self._untold_work, self._untold_state = set(), False, False
        words = [ANY] if len(named) > MOST_NAMED else [str(training) for training in named]
        said = [*words, *([WORK] if work else []), *([] if state else [COUNTS])]
        try:
            await connection.execute(SQL["notify"], CHANNEL, " ".join(said))
        except BaseException:  # told on the next connection
            self._untold_trainings |= named
            self._untold_work, self._untold_state = self._untold_work or work, self._untold_state or state
            self._untold.ring()
            raise
        await self._untold.rest()

    def _heard(self, connection: Connection, pid: int, _channel: str, payload: object) -> None:
        if pid == connection.get_server_pid():
            return
        words = str(payload).split()
        if WORK in words:
            self._work.ring()
        only_counts = COUNTS in words
        if ANY in words:
            self._tell(None, only_counts)
            return
        named = frozenset(int(word) for word in words if word.isdecimal())
        if named:
            self._tell(named, only_counts)

    def _tell(self, changed: frozenset[int] | None, only_counts: bool) -> None:
        for listener in tuple(self._listeners):
            listener(changed, only_counts)
