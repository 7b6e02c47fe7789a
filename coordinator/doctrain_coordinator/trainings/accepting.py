"""Accepts trainings, of new documents or of failed ones: the same request is accepted once, whatever is repeated or races."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator import outcomes
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tenants.keys import Identity
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.loaders import Loaders
from doctrain_coordinator.trainings.storing import NewTraining
from doctrain_mesh import postgres
from doctrain_mesh.errors import QuotaExceededError, TrainingExistsError
from doctrain_mesh.observability import telemetry
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__, TrainingState)
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a request came to; ``training`` is 0 for a dry run. ``partial``: of a manifest only ``lines`` were read so far."""

    training: int
    documents: int
    existed: bool = False
    partial: bool = False
    lines: int = 0
    duplicate_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a tenant; ``slots`` are documents at once."""

    name: str
    slots: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands before it is given a training: the one it has of that id, its plan, and whether that is used up.

    ``most``: trainings that the plan allows not to have ended; ``all_used``: so many have not.
    """

    known: Accepted | None
    plan: Plan
    most: int
    all_used: bool

    def check_quota(self) -> None:
        """Raises QuotaExceededError when the plan allows no more trainings that have not ended."""
        if self.all_used:
            raise QuotaExceededError(
                f"The plan {self.plan.name} allows {self.most:,} trainings that have not ended; wait until one ends, or cancel one.",
                metadata={"limit": str(self.most), "unit": "trainings"},
            )


class Accepting:
    """What every training begins with."""

    def __init__(self, pool: Pool, changes: Changes, loaders: Loaders) -> None:
        self._pool, self._changes, self._loaders = pool, changes, loaders

    async def standing(self, caller: Identity, task_id: str, request_hash: bytes) -> Standing:
        """How the caller stands, in one look.

        Raises TrainingExistsError when its training of that id was made by another request, and StoreUnavailableError.
        """
        async with postgres.acquired(self._pool, "looking a training up", seconds=READ_SECONDS) as c:
            row = await c.fetchrow(SQL["standing"], caller.tenant, task_id)
        assert row is not None
        if row["known"] is not None and row["request_hash"] != request_hash:
            raise TrainingExistsError(
                f"The id {task_id!r} is taken by a training of other documents or options; choose another id, or give the same."
            )
        known = Accepted(row["known"], 0, existed=True) if row["known"] is not None else None
        return Standing(known, Plan(row["plan"], row["slots"]), row["most"], row["all_used"])

    async def store(self, caller: Identity, new: NewTraining, first: Chunk) -> Accepted:
        """Stores the training with its first documents, or finds the one that was stored meanwhile; what is left is loaded on.

        Raises TrainingExistsError, StoreUnavailableError.
        """
        try:
            training = await storing.create(self._pool, new, first)
        except storing.ExistsError:
            standing = await self.standing(caller, new.task_id, new.request_hash)
            assert standing.known is not None
            return standing.known
        self._changes.work()
        if not first.last:
            self._loaders.poke()
        numbered = new.uri_template is not None
        documents, partial = new.size if numbered else first.count, not (first.last or numbered)
        outcomes.tell_accepted(training, new.task_id, caller.tenant_id, documents, partial=partial)
        return Accepted(training, documents, partial=partial, lines=first.lines)


def new_task_id() -> str:
    """An id for a training whose caller chose none."""
    return f"training-{uuid.uuid4().hex}"


def traceparent() -> str:
    """Of the call that starts a training; empty where none is traced."""
    return telemetry.headers().get("traceparent", "")
