"""Trains again what failed or was cancelled: a training of its own, so that counts never fall and an ended training stays ended."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import outcomes
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.store import statements
from doctrain_coordinator.tenants.keys import Identity
from doctrain_coordinator.trainings import failed_documents, storing
from doctrain_coordinator.trainings.failed_documents import Failed
from doctrain_coordinator.trainings.loaders import Loaders
from doctrain_coordinator.trainings.starting import Accepted, check_quota, known_training, new_task_id
from doctrain_coordinator.trainings.storing import FIRST_CHUNK, NewTraining, Piece
from doctrain_mesh import postgres, telemetry
from doctrain_mesh.errors import NothingToRetryError
from doctrain_mesh.postgres import Pool, Record

SQL = statements.load("trainings")
READ_SECONDS = 10.0
SEARCH_SECONDS = 10.0
"""A retry whose first document is not found within that long is accepted all the same, and loaded on."""


class Retrying:
    """Everything that RetryFailedDocuments does after the request was checked."""

    def __init__(self, pool: Pool, changes: Changes, loaders: Loaders) -> None:
        self._pool, self._changes, self._loaders = pool, changes, loaders

    async def retry(self, caller: Identity, source: int, request: pb.RetryFailedDocumentsRequest) -> Accepted:
        """Stores the training, or finds the one that the same request made before; what is not stored at once is loaded on.

        Raises TrainingExistsError, QuotaExceededError, NothingToRetryError, StoreUnavailableError.
        """
        task_id = request.new_training_task_id or new_task_id()
        digest = _hash(request)
        known = await known_training(self._pool, caller, task_id, digest)
        if known is None:
            await check_quota(self._pool, caller)
            known = await self._store(caller, source, request, task_id, digest)
        return known

    async def _store(self, caller: Identity, source: int, request: pb.RetryFailedDocumentsRequest, task_id: str, digest: bytes) -> Accepted:
        async with postgres.acquired(self._pool, "reading a training", seconds=READ_SECONDS) as c:
            retried = await c.fetchrow(SQL["retried"], source)
        assert retried is not None
        failed = Failed(source, sorted(set(request.error_classes)))
        piece = await self._first_piece(failed, retried, sorted(set(request.document_ids)))
        if piece.last and not piece.count:
            asked = "none of the documents that were asked for" if request.error_classes or request.document_ids else "no document"
            raise NothingToRetryError(
                f"There is nothing to retry: {asked} failed or was cancelled in {request.training_task_id!r}, "
                "or a later training has indexed those since, or they were deleted."
            )
        new = NewTraining(
            caller.tenant,
            task_id,
            digest,
            telemetry.headers().get("traceparent", ""),
            size=piece.count if piece.last else retried["untrained"],
            load_count=retried["untrained"],
            retry_of=retried["origin"],
            load_source=source,
            load_classes=failed.classes,
            retrain=retried["retrain"],
        )
        try:
            training = await storing.create(self._pool, new, piece)
        except storing.ExistsError:
            known = await known_training(self._pool, caller, task_id, digest)
            assert known is not None
            return known
        outcomes.tell_accepted(training, task_id, caller.tenant_id, piece.count, partial=not piece.last)
        self._changes.work()
        if not piece.last:
            self._loaders.poke()
        return Accepted(training, piece.count)

    async def _first_piece(self, failed: Failed, retried: Record, ids: Sequence[str]) -> Piece:
        """The first documents, with only as much of the training looked through as it takes to find some."""
        if ids:
            number_offset = retried["number_offset"] if retried["uri_template"] is not None else None
            async with postgres.acquired(self._pool, "reading what failed", seconds=READ_SECONDS) as c:
                return await failed_documents.named_piece(c, failed, ids, number_offset)
        offset, until = 0, time.monotonic() + SEARCH_SECONDS
        while True:
            async with postgres.acquired(self._pool, "reading what failed", seconds=READ_SECONDS) as c:
                loaded = retried["loaded"] if retried["untrained"] else 0
                piece = await failed_documents.next_piece(c, failed, offset, loaded=loaded, most=FIRST_CHUNK)
            if piece.count or piece.last or time.monotonic() >= until:
                return piece
            offset = piece.offset


def _hash(request: pb.RetryFailedDocumentsRequest) -> bytes:
    parts = ["retry", request.training_task_id]
    parts += [str(error_class) for error_class in sorted(set(request.error_classes))] + sorted(set(request.document_ids))
    return hashlib.sha256(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)).digest()
