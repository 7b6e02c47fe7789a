"""Accepts trainings, of new documents or of failed ones: the same request is accepted once, whatever is repeated or races."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator import outcomes
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.identity import DELETED, Identity
from doctrain_coordinator.trainings import storing
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.loaders import Loaders
from doctrain_coordinator.trainings.storing import NewTraining
from doctrain_mesh import postgres
from doctrain_mesh.errors import QuotaExceededError, TenantSuspendedError, TrainingExistsError, TrainingNotFoundError
from doctrain_mesh.observability import telemetry
from doctrain_mesh.postgres import Pool, statements

SQL = statements.of(__name__)
READ_SECONDS = 10.0
RETRY_SECONDS = 10.0
"""When to ask again where a training or some documents have to end first."""


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
class Standing:
    """How a tenant stands before it is given a training: the one it has of that id, and its plan (``tenants.provisioning.Plan``).

    Args:
        all_used: so many of its trainings have not ended as the plan allows.
        backlog: its documents that have not ended; counted where the plan limits them.
    """

    known: Accepted | None
    tenant_id: str
    plan: str
    slots: int
    open_trainings: int
    training_documents: int
    open_documents: int
    all_used: bool
    backlog: int

    def check_trainings(self) -> None:
        """Raises QuotaExceededError when the plan allows no more trainings that have not ended."""
        if self.all_used:
            not_ended = "training that has not ended" if self.open_trainings == 1 else "trainings that have not ended"
            allowed = f"allows {self.open_trainings:,} {not_ended}"
            raise self._exceeded(f"{allowed}; wait until one ends, or cancel one.", "open_trainings", self.open_trainings, "trainings")

    def check_documents(self, count: int) -> None:
        """Raises QuotaExceededError when the plan allows no training of so many documents, or not yet."""
        if self.training_documents and count > self.training_documents:
            raise self._exceeded(
                f"allows {self.training_documents:,} documents in one training, and this one has {count:,}; split it.",
                "training_documents",
                self.training_documents,
                "documents",
                waiting_helps=False,
            )
        if self.open_documents and count > self.open_documents:
            raise self._exceeded(
                f"allows {self.open_documents:,} documents that have not ended, and this training has {count:,}, so it can never start; "
                "split it, or ask the operator of the mesh for a larger plan.",
                "open_documents",
                self.open_documents,
                "documents",
                waiting_helps=False,
            )
        if self.open_documents and self.backlog + count > self.open_documents:
            raise self._exceeded(
                f"allows {self.open_documents:,} documents that have not ended, and {self.backlog:,} have not; "
                f"wait until there is room for {count:,}, or cancel a training.",
                "open_documents",
                self.open_documents,
                "documents",
            )

    def _exceeded(self, sentence: str, quota: str, limit: int, unit: str, *, waiting_helps: bool = True) -> QuotaExceededError:
        return QuotaExceededError(
            f"The plan {self.plan} {sentence}",
            metadata={"subject": f"tenant:{self.tenant_id}", "quota": quota, "limit": str(limit), "unit": unit},
            retry_after_seconds=RETRY_SECONDS if waiting_helps else None,
        )


class Accepting:
    """What every training begins with."""

    def __init__(self, pool: Pool, changes: Changes, loaders: Loaders) -> None:
        self._pool, self._changes, self._loaders = pool, changes, loaders

    async def standing(self, caller: Identity, task_id: str, request_hash: bytes) -> Standing:
        """How the caller stands, in one look.

        Raises TrainingExistsError when its training of that id was made by another request, TenantSuspendedError for one that is being
        deleted, and StoreUnavailableError.
        """
        async with postgres.acquired(self._pool, "looking a training up", seconds=READ_SECONDS) as c:
            row = await c.fetchrow(SQL["standing"], caller.tenant, task_id)
        if row is None:
            raise TenantSuspendedError(DELETED)
        if row["known"] is not None and row["request_hash"] != request_hash:
            raise TrainingExistsError(
                f"The id {task_id!r} is taken by a training of other documents or options; choose another id, or give the same."
            )
        known = Accepted(row["known"], 0, existed=True) if row["known"] is not None else None
        limits = {name: row[name] for name in ("slots", "open_trainings", "training_documents", "open_documents", "all_used", "backlog")}
        return Standing(known, caller.tenant_id, row["plan"], **limits)

    async def store(self, new: NewTraining, first: Chunk, deed: Deed) -> Accepted:
        """Stores the training with its first documents and the deed, or finds the one that was stored meanwhile; what is left is loaded on.

        Raises TrainingExistsError, TrainingNotFoundError for a retry of one that is gone, TenantSuspendedError, StoreUnavailableError.
        """
        try:
            training = await storing.create(self._pool, new, first, deed)
        except storing.ExistsError:
            standing = await self.standing(deed.caller, new.task_id, new.request_hash)
            if standing.known is None:
                raise TrainingNotFoundError("The training to retry was removed meanwhile.") from None
            return standing.known
        self._changes.work()
        if not first.last:
            self._loaders.poke()
        numbered = new.uri_template is not None
        documents, partial = new.size if numbered else first.count, not (first.last or numbered)
        outcomes.tell_accepted(training, new.task_id, deed.caller.tenant_id, documents, partial=partial)
        return Accepted(training, documents, partial=partial, lines=first.lines)


def new_task_id() -> str:
    """An id for a training whose caller chose none."""
    return f"training-{uuid.uuid4().hex}"


def traceparent() -> str:
    """The trace context of the call that starts a training; empty where none is traced."""
    return telemetry.headers().get("traceparent", "")
