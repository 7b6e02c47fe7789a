"""Reads trainings and their documents as a tenant sees them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.holding import NOTHING_LOST, Facts, Hold, KeptOut, Lost, holds, waiting_reason
from doctrain_coordinator.core.limits import Limit
from doctrain_coordinator.core.states import DocumentState, SessionState, ShardState, ShownState, TrainingState
from doctrain_coordinator.store import tenant_rows
from doctrain_coordinator.trainings.views import DocumentView, TrainingView
from doctrain_mesh import postgres
from doctrain_mesh.errors import TrainingNotFoundError
from doctrain_mesh.postgres import Connection, Pool, Record, statements

SQL = statements.of(__name__, DocumentState, SessionState, ShardState, ShownState, TrainingState)
READ_SECONDS = 10.0
MOST_SHOWN = 128
MOST_AHEAD = 10
DOCUMENT_WINDOW = 100_000
"""Ordinals that one page of documents looks through, at most: a page may be short, never slow."""
PAGE_BYTES = 2**20
ROWS_AT_ONCE = 50
"""Documents that Postgres sends before it is asked for more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A training as it stands, with the reason why it waits."""

    training: TrainingView
    waiting: str


@dataclass(frozen=True, slots=True)
class Page:
    """Documents in order, with their training; ``next_ordinal`` is where to go on, None after the last."""

    training: TrainingView
    documents: Sequence[DocumentView]
    next_ordinal: int | None


@dataclass(frozen=True, slots=True)
class Explained:
    """What holds a training, and who of its tenant uses how many of the slots that it may have; ``ahead`` are (id, slots) of others."""

    seen: Seen
    holds: Sequence[Hold]
    limit: Limit
    own_slots: int
    others_slots: int
    ahead: Sequence[tuple[str, int]]


class Trainings:
    """Every read but ``of_any_tenant`` is of one tenant: another's training is the same as none, also for who has its key.

    Names and lists are looked up in the tenant's role (``store.tenant_rows``). How a training stands is read as the owner of the tables,
    by statements that ask for the tenant.

    Args:
        pool: where they are.
        lease_seconds: after which a silent worker is given up.
        silent_seconds: after which a worker counts as silent.
    """

    def __init__(self, pool: Pool, *, lease_seconds: float, silent_seconds: float) -> None:
        self._pool, self._lease, self._silent_seconds = pool, lease_seconds, silent_seconds
        self._began = time.monotonic()

    async def find(self, tenant: int, task_id: str) -> int:
        """The training's key; raises TrainingNotFoundError."""
        unknown = TrainingNotFoundError(f"There is no training {task_id[:MOST_SHOWN]!r}.")
        if "\x00" in task_id:  # Postgres takes no such text, so nothing is stored under it
            raise unknown
        async with tenant_rows.acquired(self._pool, tenant, "reading a training") as c:
            training: int | None = await c.fetchval(SQL["by_task"], tenant, task_id)
        if training is None:
            raise unknown
        return training

    async def of_any_tenant(self, ids: Collection[int]) -> list[Seen]:
        """The trainings as they stand, whosever they are, in no order; unknown ones are left out. For operators and the hub of watches."""
        return await self._read(None, ids)

    async def _read(self, tenant: int | None, ids: Collection[int]) -> list[Seen]:
        """Those of the tenant, or with None of any."""
        async with postgres.acquired(self._pool, "reading trainings", seconds=READ_SECONDS) as c:
            found = [_view(row) for row in await c.fetch(SQL["progress"], list(ids), tenant)]
            idle = [training.id for training in found if not training.state.ended and not training.running]
            waiting = {row["id"]: row for row in await c.fetch(SQL["waiting"], idle, tenant)} if idle else {}
        return [Seen(training, _waiting(training, waiting.get(training.id))) for training in found]

    async def one(self, tenant: int, training: int) -> Seen:
        """A training as it stands; raises TrainingNotFoundError for another tenant's and for one that was removed since it was found."""
        for seen in await self._read(tenant, [training]):
            return seen
        raise removed_since()

    async def get(self, tenant: int, task_id: str, broker_answers: Callable[[], Awaitable[bool]]) -> Seen:
        """One training; the broker is asked only where its answer matters. Raises TrainingNotFoundError."""
        training = await self.find(tenant, task_id)
        seen = await self.one(tenant, training)
        return (await self.explain(tenant, training, broker_answers)).seen if _handed_out(seen) else seen

    async def explain(self, tenant: int, training: int, broker_answers: Callable[[], Awaitable[bool]]) -> Explained:
        """What holds one training; the broker is asked only where its answer matters. Raises TrainingNotFoundError as ``one`` does."""
        seen = await self.one(tenant, training)
        waits = seen.training.in_flight > seen.training.running and not seen.training.state.ended
        asked = await broker_answers() if waits else None
        async with postgres.acquired(self._pool, "explaining a training", seconds=READ_SECONDS) as c:
            waiting = await c.fetchrow(SQL["waiting"], [training], tenant)
            silent = await c.fetchrow(SQL["held_by_silent"], tenant, training, self._silent_seconds)
            ahead = await c.fetch(SQL["ahead"], tenant, training, MOST_AHEAD)
        if waiting is None:
            raise removed_since()
        assert silent is not None
        facts = _facts(seen.training, waiting, broker_answers=asked, lost=self._lost(silent))
        return Explained(
            Seen(seen.training, waiting_reason(facts)),
            holds(facts),
            facts.limit,
            waiting["own_slots"],
            waiting["slots_used"] - waiting["own_slots"],
            [(row["task_id"], row["slots"]) for row in ahead],
        )

    def _lost(self, silent: Record) -> Lost:
        """A leader gives a session up when it has seen it stand still for the lease; one that has just begun has seen less of it."""
        if not silent["slots"]:
            return NOTHING_LOST
        left = self._lease - min(silent["silence"], time.monotonic() - self._began)
        return Lost(silent["slots"], silent["own_slots"], left if left > 0 else None)

    async def page(self, tenant: int, before: int, states: Sequence[int], size: int) -> tuple[list[Seen], int | None]:
        """Trainings with keys below ``before``, newest first, and before which to go on; None after the last."""
        async with tenant_rows.acquired(self._pool, tenant, "listing trainings") as c:
            ids = [row["id"] for row in await c.fetch(SQL["list"], tenant, before, list(states), size)]
        found = sorted(await self._read(tenant, ids), key=lambda seen: -seen.training.id) if ids else []
        return found, ids[-1] if len(ids) == size else None  # of those some may be removed by now

    async def documents(self, tenant: int, training: int, after: int, states: Sequence[int], size: int) -> Page:
        """Documents with ordinals above ``after`` in some states; raises TrainingNotFoundError as ``one`` does."""
        seen = await self.one(tenant, training)
        async with tenant_rows.acquired(self._pool, tenant, "listing documents") as c:
            running = [row["ordinal"] for row in await c.fetch(SQL["running_ordinals"], training)]
            until = after + DOCUMENT_WINDOW
            arguments = training, seen.training.state.ended, running, after, until, list(states), size
            found = await read_documents(c, SQL["documents"], *arguments, most_bytes=PAGE_BYTES)
        if found.cut or len(found.documents) == size:
            return Page(seen.training, found.documents, found.documents[-1].ordinal)
        return Page(seen.training, found.documents, until if until < seen.training.total - 1 else None)


def removed_since() -> TrainingNotFoundError:
    """What is said of a training that is no more although it was found."""
    return TrainingNotFoundError("The training was removed, for its age or with its tenant.")


@dataclass(frozen=True, slots=True)
class Documents:
    """Some documents in order; ``cut``: there may be more of them."""

    documents: Sequence[DocumentView]
    cut: bool


async def read_documents(c: Connection, statement: str, *arguments: object, most_bytes: int) -> Documents:
    """What the statement answers, up to the document with which it is that large: each may carry some KiB of its tenant's."""
    documents: list[DocumentView] = []
    size = 0
    async with c.transaction(readonly=True):
        async for row in c.cursor(statement, *arguments, prefetch=ROWS_AT_ONCE):
            document = DocumentView(**row)
            documents.append(document)
            size += sum(
                len(part or "") for part in (document.document_id, document.uri, document.metadata, document.stages, document.error)
            )
            if size >= most_bytes:
                return Documents(documents, cut=True)
    return Documents(documents, cut=False)


def _view(row: Record) -> TrainingView:
    return TrainingView(**{**row, "state": TrainingState(row["state"])})


def _waiting(training: TrainingView, facts: Record | None) -> str:
    return "" if facts is None else waiting_reason(_facts(training, facts))


def _handed_out(seen: Seen) -> bool:
    """Whether nothing runs of what was handed out: for a moment, or because the broker does not answer."""
    return bool(seen.training.in_flight and not seen.training.running and not seen.training.state.ended)


def _facts(training: TrainingView, waiting: Record, *, broker_answers: bool | None = None, lost: Lost = NOTHING_LOST) -> Facts:
    return Facts(
        state=training.state,
        paused=training.paused,
        suspended=training.suspended,
        sealed=training.sealed,
        in_flight=training.in_flight,
        running=training.running,
        pending=waiting["pending"],
        limit=Limit(waiting["slots"], waiting["allowed"], waiting["guaranteed"], waiting["burst"]),
        slots_used=waiting["slots_used"],
        own_slots=waiting["own_slots"],
        lanes=waiting["lanes"],
        lanes_used=waiting["lanes_used"],
        kept_out=KeptOut(waiting["cordoned"], waiting["unsubscribed"], waiting["unfit"]),
        yield_reason=waiting["yield_reason"],
        yield_seconds=waiting["yield_seconds"],
        broker_answers=broker_answers,
        lost=lost,
    )
