"""Trains again what failed or was cancelled: a training of its own, so that counts never fall and an ended training stays ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.trainings import chunks, failed_documents
from doctrain_coordinator.trainings.accepting import Accepted, Accepting, Standing, new_task_id, traceparent
from doctrain_coordinator.trainings.chunks import Chunk
from doctrain_coordinator.trainings.failed_documents import Failed
from doctrain_coordinator.trainings.storing import NewTraining
from doctrain_mesh import postgres
from doctrain_mesh.errors import NothingToRetryError, TrainingNotFoundError
from doctrain_mesh.postgres import Pool, Record, statements

SQL = statements.of(__name__, TrainingState)
READ_SECONDS = 10.0
SEARCH_SECONDS = 10.0
"""A retry whose first document is not found within that long is accepted all the same, and loaded on."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What is to be trained again, checked: of one training what failed in some ways or, without ``classes``, in any; all, or some ids.

    Args:
        source_task_id: the training's.
        task_id: of the new one; empty where the caller chose none.
        request_hash: the same for requests of the same content.
    """

    source_task_id: str
    task_id: str
    request_hash: bytes
    classes: Sequence[int]
    document_ids: Sequence[str]


class Retrying:
    """Everything that RetryFailedDocuments does after the request was checked."""

    def __init__(self, pool: Pool, accepting: Accepting) -> None:
        self._pool, self._accepting = pool, accepting

    async def retry(self, source: int, retry: Retry, deed: Deed) -> Accepted:
        """Stores the training, or finds the one that the same request made before; what is not stored at once is loaded on.

        Raises TrainingExistsError, QuotaExceededError, NothingToRetryError, StoreUnavailableError, and TrainingNotFoundError where the
        ``source`` is another tenant's or was removed since it was found.
        """
        caller, task_id = deed.caller, retry.task_id or new_task_id()
        standing = await self._accepting.standing(caller, task_id, retry.request_hash)
        if standing.known is not None:
            return standing.known
        standing.check_trainings()
        return await self._store(source, retry, task_id, standing, deed)

    async def _store(self, source: int, retry: Retry, task_id: str, standing: Standing, deed: Deed) -> Accepted:
        async with postgres.acquired(self._pool, "reading a training", seconds=READ_SECONDS) as c:
            retried = await c.fetchrow(SQL["retried"], source, deed.caller.tenant)
        if retried is None:
            raise TrainingNotFoundError(f"There is no training {retry.source_task_id!r} any more.")
        failed = Failed(source, retry.classes)
        first = await self._first_chunk(failed, retried, retry.document_ids)
        if first.last and not first.count:
            raise NothingToRetryError(f"There is nothing to retry: {await self._why_nothing(failed, retried, retry)}.")
        most = retried["failed"] if failed.classes else retried["untrained"]  # what was open has no class
        size = first.count if first.last else most
        standing.check_documents(size)
        new = NewTraining(
            deed.caller.tenant,
            task_id,
            retry.request_hash,
            traceparent(),
            size=size,
            load_count=most,
            retry_of=retried["origin"],
            load_source=source,
            load_classes=failed.classes,
            retrain=retried["retrain"],
        )
        return await self._accepting.store(new, first, deed)

    async def _first_chunk(self, failed: Failed, retried: Record, ids: Sequence[str]) -> Chunk:
        """The first documents, with only as much of the training looked through as it takes to find some."""
        if ids:
            async with postgres.acquired(self._pool, "reading what failed", seconds=READ_SECONDS) as c:
                return await failed_documents.named_chunk(c, failed, ids, _number_offset(retried))
        offset, until = 0, time.monotonic() + SEARCH_SECONDS
        while True:
            async with postgres.acquired(self._pool, "reading what failed", seconds=READ_SECONDS) as c:
                loaded = retried["loaded"] if retried["untrained"] else 0
                chunk = await failed_documents.next_chunk(c, failed, offset, loaded=loaded, most=chunks.FIRST)
            if chunk.count or chunk.last or time.monotonic() >= until:
                return chunk
            offset = chunk.offset

    async def _why_nothing(self, failed: Failed, retried: Record, retry: Retry) -> str:
        source, ids, untrained = repr(retry.source_task_id), retry.document_ids, retried["untrained"]
        async with postgres.acquired(self._pool, "reading what failed", seconds=READ_SECONDS) as c:
            unknown = await failed_documents.unknown_ids(c, failed.training, ids, _number_offset(retried), loaded=retried["loaded"])
            none_so = bool(failed.classes) and not await failed_documents.any_failed(c, failed)
        if unknown and len(unknown) == len(ids):
            return f"{unknown[0]!r} is no document of {source}" if len(ids) == 1 else f"none of the {len(ids):,} is a document of {source}"
        if not untrained:
            return f"no document failed or was cancelled in {source}"
        if none_so:
            return f"none of the {untrained:,} that failed or were cancelled in {source} failed in a way that was asked for"
        since = "was indexed by a later training since, or was deleted"
        if retry.classes or ids:
            return f"of the {untrained:,} that failed or were cancelled in {source} none is left: each was not asked for, or {since}"
        return f"{untrained:,} failed or were cancelled in {source}, and each of them {since}"


def _number_offset(retried: Record) -> int | None:
    return retried["number_offset"] if retried["uri_template"] is not None else None
