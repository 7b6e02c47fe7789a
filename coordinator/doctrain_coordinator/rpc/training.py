"""TrainingService: authorise (done before), validate, translate, call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator import endings
from doctrain_coordinator.changes import Changes
from doctrain_coordinator.core.states import TrainingState
from doctrain_coordinator.rpc import tokens, translate
from doctrain_coordinator.rpc.interceptors import CALLER
from doctrain_coordinator.rpc.validation import invalid, page_size
from doctrain_coordinator.rpc.watching import Watching
from doctrain_coordinator.starting import Starting
from doctrain_coordinator.trainings import Trainings
from doctrain_coordinator.watchers import WatchHub
from doctrain_mesh import postgres
from doctrain_mesh.blobs import BlobStore
from doctrain_mesh.postgres import Pool

MOST_KEY = 2**63 - 1
MOST_ORDINAL = 2**30
CANCEL_SECONDS = 20.0
UPLOAD_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What the service needs."""

    pool: Pool
    trainings: Trainings
    starting: Starting
    hub: WatchHub
    blobs: BlobStore
    changes: Changes
    max_document_bytes: int
    heartbeat_seconds: float


class TrainingService(training_pb2_grpc.TrainingServiceServicer):
    """What tenants call."""

    def __init__(self, parts: TrainingParts) -> None:
        self._parts = parts

    async def StartTraining(self, request: pb.StartTrainingRequest, context: Any) -> pb.StartTrainingResponse:
        caller = CALLER.get()
        accepted = await self._parts.starting.start(caller, request)
        plan = await self._parts.starting.plan_of(caller)
        response = pb.StartTrainingResponse(
            summary=pb.TrainingSummary(
                documents=accepted.documents,
                duplicate_ids=accepted.duplicate_ids,
                max_concurrency=plan.slots,
                plan=plan.name,
                existed=accepted.existed,
            )
        )
        if accepted.training:
            (seen,) = await self._parts.trainings.read([accepted.training])
            response.training.CopyFrom(translate.training(seen))
            response.summary.documents = max(accepted.documents, seen.row["total"])
        return response

    async def GetTraining(self, request: pb.GetTrainingRequest, context: Any) -> pb.GetTrainingResponse:
        seen = await self._parts.trainings.get(CALLER.get().tenant, request.training_task_id)
        return pb.GetTrainingResponse(training=translate.training(seen))

    async def ListTrainings(self, request: pb.ListTrainingsRequest, context: Any) -> pb.ListTrainingsResponse:
        tenant = CALLER.get().tenant
        size = page_size(request.page_size, 50, 500)
        states = _states(request.states, pb.TrainingState)
        scope = f"ListTrainings {tenant}"
        before = tokens.read(scope, request.page_token, 1, "page token")[0] if request.page_token else MOST_KEY
        found = await self._parts.trainings.page(tenant, before, states, size)
        token = tokens.make(scope, found[-1].row["id"]) if len(found) == size else ""
        return pb.ListTrainingsResponse(trainings=[translate.training(seen) for seen in found], next_page_token=token)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Any) -> pb.ListDocumentsResponse:
        size = page_size(request.page_size, 100, 1000)
        states = _states(request.states, pb.DocumentState)
        training = await self._parts.trainings.find(CALLER.get().tenant, request.training_task_id)
        scope = f"ListDocuments {training}"
        after = tokens.read(scope, request.page_token, 1, "page token", most=MOST_ORDINAL)[0] if request.page_token else -1
        page = await self._parts.trainings.documents(training, after, states, size)
        token = tokens.make(scope, page.next_ordinal) if page.next_ordinal is not None else ""
        documents = [translate.document(row, page.training) for row in page.rows]
        return pb.ListDocumentsResponse(documents=documents, next_page_token=token)

    async def WatchStatus(self, request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        training = await self._parts.trainings.find(CALLER.get().tenant, request.training_task_id)
        watching = Watching(self._parts.pool, self._parts.hub, training, self._parts.heartbeat_seconds)
        async for response in watching.responses(request.resume_position, documents=request.include_documents):
            yield response

    async def CancelTraining(self, request: pb.CancelTrainingRequest, context: Any) -> pb.CancelTrainingResponse:
        tenant = CALLER.get().tenant
        training = await self._parts.trainings.find(tenant, request.training_task_id)
        async with postgres.acquired(self._parts.pool, "cancelling a training", seconds=CANCEL_SECONDS) as c, c.transaction():
            ended = await endings.end_early(c, training, TrainingState.CANCELLED, None)
        if ended:
            self._parts.changes.trainings([training])
            self._parts.changes.work()
        (seen,) = await self._parts.trainings.read([training])
        return pb.CancelTrainingResponse(training=translate.training(seen))

    async def UploadDocument(self, request_iterator: AsyncIterator[pb.UploadDocumentRequest], context: Any) -> pb.UploadDocumentResponse:
        pieces = _pieces(request_iterator)
        first = await anext(pieces, b"")
        if not first:
            raise invalid("chunk", "The document is empty.")

        async def whole() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        stored = await self._parts.blobs.put_stream(CALLER.get().tenant_id, whole(), self._parts.max_document_bytes)
        return pb.UploadDocumentResponse(uri=stored.uri, size=stored.size, sha256=stored.sha256)


async def _pieces(requests: AsyncIterator[pb.UploadDocumentRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.chunk:
            yield request.chunk
        await asyncio.sleep(0)


def _states(asked: Any, enum: Any) -> list[int]:
    known = set(enum.values()) - {0}
    for place, state in enumerate(asked):
        if state not in known:
            raise invalid(f"states[{place}]", "This is no state to ask for.")
    return list(asked)
