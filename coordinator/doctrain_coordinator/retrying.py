"""Trains again what failed or was cancelled: a training of its own, so that counts never fall and an ended training stays ended."""

from __future__ import annotations

import hashlib

from doctrain.v1 import training_pb2 as pb
from doctrain_coordinator import loading, outcomes
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.keys import Identity
from doctrain_coordinator.loading import Failed, NewTraining
from doctrain_coordinator.starting import Accepted, check_quota, known_training, new_task_id
from doctrain_coordinator.store import statements
from doctrain_mesh import postgres, telemetry
from doctrain_mesh.errors import NothingToRetryError
from doctrain_mesh.postgres import Pool

SQL = statements.load("trainings")
READ_SECONDS = 10.0


class Retrying:
    """Everything that RetryFailedDocuments does after the request was checked."""

    def __init__(self, pool: Pool, changes: Changes) -> None:
        self._pool, self._changes = pool, changes

    async def retry(self, caller: Identity, source: int, request: pb.RetryFailedDocumentsRequest) -> Accepted:
        """Stores the training, or finds the one that the same request made before.

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
            origin = await c.fetchrow(SQL["origin"], source)
        assert origin is not None
        traceparent = telemetry.headers().get("traceparent", "")
        new = NewTraining(caller.tenant, task_id, digest, traceparent, 0, retry_of=origin["training"], retrain=origin["retrain"])
        failed = Failed(source, sorted(set(request.error_classes)), sorted(set(request.document_ids)))
        try:
            training, count = await loading.create_from_failed(self._pool, new, failed)
        except loading.ExistsError:
            known = await known_training(self._pool, caller, task_id, digest)
            assert known is not None
            return known
        if not training:
            asked = "none of the documents that were asked for" if request.error_classes or request.document_ids else "no document"
            raise NothingToRetryError(
                f"There is nothing to retry: {asked} failed or was cancelled in {request.training_task_id!r}, "
                "or a later training has indexed those since, or they were deleted."
            )
        outcomes.tell_accepted(training, task_id, caller.tenant_id, count)
        self._changes.work()
        return Accepted(training, count)


def _hash(request: pb.RetryFailedDocumentsRequest) -> bytes:
    parts = ["retry", request.training_task_id]
    parts += [str(error_class) for error_class in sorted(set(request.error_classes))] + sorted(set(request.document_ids))
    return hashlib.sha256(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)).digest()
