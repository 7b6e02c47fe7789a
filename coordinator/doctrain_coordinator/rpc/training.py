"""TrainingService: authorise (done before), validate, translate, call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from doctrain.v1 import training_pb2 as pb
from doctrain.v1 import training_pb2_grpc
from doctrain_coordinator import metrics
from doctrain_coordinator.core.stages import restored_under_way
from doctrain_coordinator.removal.unnamed_uploads import UnnamedUploads
from doctrain_coordinator.rpc import deeds, tokens, training_requests, translate, uploads, usage
from doctrain_coordinator.rpc.caller import CALLER, TURN
from doctrain_coordinator.rpc.policies import policy_of
from doctrain_coordinator.rpc.training_requests import Limits
from doctrain_coordinator.rpc.violations import page_size, states_of
from doctrain_coordinator.rpc.watching import Watching
from doctrain_coordinator.tenants import limits
from doctrain_coordinator.tenants.audit import Deed
from doctrain_coordinator.tenants.uploads import Uploads
from doctrain_coordinator.tenants.usage import Usage
from doctrain_coordinator.trainings.control import Control
from doctrain_coordinator.trainings.reading import Trainings
from doctrain_coordinator.trainings.retrying import Retrying
from doctrain_coordinator.trainings.starting import Starting
from doctrain_coordinator.trainings.watch_reads import WatchReads
from doctrain_coordinator.trainings.watchers import WatchHub
from doctrain_mesh.errors import BrokerUnavailableError
from doctrain_mesh.network.uris import UriRules
from doctrain_mesh.ports import Broker
from doctrain_mesh.postgres import Pool

MOST_ORDINAL = 2**30
MOST_SHA256 = 2**256 - 1
DOCUMENTS_A_TURN = 50
START_TRAINING = policy_of("/doctrain.v1.TrainingService/StartTraining")


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What the service needs."""

    pool: Pool
    reads: WatchReads
    trainings: Trainings
    starting: Starting
    retrying: Retrying
    control: Control
    hub: WatchHub
    uploads: Uploads
    unnamed: UnnamedUploads
    uris: UriRules
    limits: Limits
    broker: Broker
    usage: Usage
    heartbeat_seconds: float


class TrainingService(training_pb2_grpc.TrainingServiceServicer):
    """What tenants call."""

    def __init__(self, parts: TrainingParts) -> None:
        self._parts = parts

    async def StartTraining(self, request: pb.StartTrainingRequest, context: Any) -> pb.StartTrainingResponse:
        start = await training_requests.start(request, self._parts.limits, self._parts.uris)
        with self._deed(start.task_id) as deed:
            accepted, standing = await self._parts.starting.start(start, deed, TURN.get().aside)
        response = pb.StartTrainingResponse(
            summary=pb.TrainingSummary(
                documents=accepted.documents,
                duplicate_ids=accepted.duplicate_ids,
                max_concurrency=standing.slots,
                plan=standing.plan,
                existed=accepted.existed,
                partial=accepted.partial,
                manifest_lines=accepted.lines,
            )
        )
        if accepted.training:
            response.training.CopyFrom(await self._as_it_stands(accepted.training))
            response.summary.documents = max(accepted.documents, request.numbered.count, response.training.total)
            response.summary.partial = bool(request.manifest_uri) and not response.training.sealed
        return response

    async def GetTraining(self, request: pb.GetTrainingRequest, context: Any) -> pb.GetTrainingResponse:
        seen = await self._parts.trainings.get(CALLER.get().tenant, request.training_task_id, self._broker_answers)
        return pb.GetTrainingResponse(training=translate.training(seen))

    async def ListTrainings(self, request: pb.ListTrainingsRequest, context: Any) -> pb.ListTrainingsResponse:
        tenant = CALLER.get().tenant
        size = page_size(request.page_size, 50, 500)
        states = states_of(pb.TrainingState, request.states)
        scope = f"ListTrainings {tenant}"
        before = tokens.page(scope, request.page_token, tokens.MOST)
        found, before_next = await self._parts.trainings.page(tenant, before, states, size)
        token = tokens.make(scope, before_next) if before_next is not None else ""
        return pb.ListTrainingsResponse(trainings=[translate.training(seen) for seen in found], next_page_token=token)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Any) -> pb.ListDocumentsResponse:
        size = page_size(request.page_size, 100, 1000)
        states = states_of(pb.DocumentState, request.states)
        training = await self._find(request.training_task_id)
        scope = f"ListDocuments {training}"
        after = tokens.page(scope, request.page_token, -1, most=MOST_ORDINAL)
        page = await self._parts.trainings.documents(CALLER.get().tenant, training, after, states, size)
        token = tokens.make(scope, page.next_ordinal) if page.next_ordinal is not None else ""
        response = pb.ListDocumentsResponse(next_page_token=token)
        under_way = restored_under_way(page.training.under_way)
        for place, document in enumerate(page.documents, 1):
            response.documents.append(translate.document(document, page.training, under_way.get(document.ordinal)))
            if place % DOCUMENTS_A_TURN == 0:
                await asyncio.sleep(0)  # workers' heartbeats are answered on this loop, too
        return response

    async def WatchStatus(self, request: pb.WatchStatusRequest, context: Any) -> AsyncIterator[pb.WatchStatusResponse]:
        training = await self._find(request.training_task_id)
        watching = Watching(self._parts.reads, self._parts.hub, CALLER.get().tenant, training, self._parts.heartbeat_seconds)
        async for response in watching.responses(request.resume_position, documents=request.include_documents):
            yield response

    async def CancelTraining(self, request: pb.CancelTrainingRequest, context: Any) -> pb.CancelTrainingResponse:
        training = await self._find(request.training_task_id)
        with self._deed(request.training_task_id) as deed:
            await self._parts.control.cancel(training, deed=deed)
        return pb.CancelTrainingResponse(training=await self._as_it_stands(training))

    async def PauseTraining(self, request: pb.PauseTrainingRequest, context: Any) -> pb.PauseTrainingResponse:
        training = await self._find(request.training_task_id)
        with self._deed(request.training_task_id) as deed:
            await self._parts.control.pause(training, deed=deed)
        return pb.PauseTrainingResponse(training=await self._as_it_stands(training))

    async def ResumeTraining(self, request: pb.ResumeTrainingRequest, context: Any) -> pb.ResumeTrainingResponse:
        training = await self._find(request.training_task_id)
        with self._deed(request.training_task_id) as deed:
            await self._parts.control.resume(training, deed=deed)
        return pb.ResumeTrainingResponse(training=await self._as_it_stands(training))

    async def RetryFailedDocuments(self, request: pb.RetryFailedDocumentsRequest, context: Any) -> pb.RetryFailedDocumentsResponse:
        retry = training_requests.retry(request)
        source = await self._find(retry.source_task_id)
        with self._deed(retry.task_id or retry.source_task_id) as deed:
            accepted = await self._parts.retrying.retry(source, retry, deed)
        return pb.RetryFailedDocumentsResponse(training=await self._as_it_stands(accepted.training))

    async def ExplainTraining(self, request: pb.ExplainTrainingRequest, context: Any) -> pb.ExplainTrainingResponse:
        training = await self._find(request.training_task_id)
        return translate.explained(await self._parts.trainings.explain(CALLER.get().tenant, training, self._broker_answers))

    async def UploadDocument(self, request_iterator: AsyncIterator[pb.UploadDocumentRequest], context: Any) -> pb.UploadDocumentResponse:
        stored = await uploads.store(self._parts.uploads, CALLER.get(), request_iterator, self._parts.limits.document_bytes)
        metrics.UPLOADED.add(stored.size)
        return pb.UploadDocumentResponse(uri=stored.uri, size=stored.size, sha256=stored.sha256)

    async def DropUploads(self, request: pb.DropUploadsRequest, context: Any) -> pb.DropUploadsResponse:
        caller = CALLER.get()
        scope = f"DropUploads {caller.tenant}"
        position, most = request.resume_position, MOST_SHA256
        after = f"{tokens.read(scope, position, 1, 'resume position', most=most)[0]:064x}" if position else ""
        dropped = await self._parts.unnamed.drop(caller, after, only_count=request.validate_only)
        return pb.DropUploadsResponse(
            uploads=dropped.uploads,
            bytes=dropped.bytes,
            kept_bytes=dropped.kept_bytes,
            limit_bytes=dropped.limit_bytes,
            complete=dropped.after is None,
            resume_position=tokens.make(scope, int(dropped.after, 16)) if dropped.after is not None else "",
        )

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any) -> pb.GetUsageResponse:
        first, last = usage.days(request.period, datetime.now(UTC).date())
        return pb.GetUsageResponse(days=usage.messages(await self._parts.usage.read(CALLER.get().tenant, first, last)))

    async def GetLimits(self, request: pb.GetLimitsRequest, context: Any) -> pb.GetLimitsResponse:
        found, of_request = await limits.read(self._parts.pool, CALLER.get().tenant), self._parts.limits
        return pb.GetLimitsResponse(
            plan=found.plan,
            slots=pb.Allowance(used=found.slots_used, limit=found.slots),
            open_trainings=pb.Allowance(used=found.open_trainings_used, limit=found.open_trainings),
            open_documents=pb.Allowance(used=found.open_documents_used, limit=found.open_documents),
            upload_bytes=pb.Allowance(used=found.upload_bytes_used, limit=found.upload_bytes),
            training_documents=found.training_documents,
            requests_per_second=found.requests_per_second,
            watches=found.watches,
            suspended=found.suspended,
            suspend_reason=found.suspend_reason,
            document_bytes=of_request.document_bytes,
            request_bytes=of_request.request_bytes,
            request_documents=of_request.request_documents,
            request_fields=START_TRAINING.fields(of_request.request_documents),
        )

    def _deed(self, task_id: str) -> AbstractContextManager[Deed]:
        return deeds.deed(f"training {task_id}")

    async def _find(self, task_id: str) -> int:
        return await self._parts.trainings.find(CALLER.get().tenant, task_id)

    async def _as_it_stands(self, training: int) -> pb.Training:
        return translate.training(await self._parts.trainings.one(CALLER.get().tenant, training))

    async def _broker_answers(self) -> bool:
        try:
            await self._parts.broker.depth()
        except BrokerUnavailableError:
            return False
        return True
