"""A doctrain service whose answers a test decides, behind a real gRPC server on a free port.

For tests of the client: it keeps trainings, documents and blobs in memory, fails the calls it is told to fail, and lets a test
write the watch streams.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from doctrain import has_ended
from doctrain.v1 import fleet_pb2, fleet_pb2_grpc, search_pb2_grpc, training_pb2, training_pb2_grpc, usage_pb2
from testkit.scripted_concurrency import ScriptedConcurrency
from testkit.scripted_search import ScriptedSearch


@dataclass(frozen=True)
class Failure:
    """An error as the services send it; without a reason, as gRPC itself makes it."""

    status: grpc.StatusCode
    sentence: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    quota: str = ""
    retry_after_seconds: float | None = None

    def status_message(self) -> status_pb2.Status:
        details: list[Message] = []
        if self.reason:
            details.append(error_details_pb2.ErrorInfo(reason=self.reason, domain="doctrain.dev", metadata=self.metadata))
        if self.violations:
            fields = [error_details_pb2.BadRequest.FieldViolation(field=k, description=v) for k, v in self.violations.items()]
            details.append(error_details_pb2.BadRequest(field_violations=fields))
        if self.quota:
            violation = error_details_pb2.QuotaFailure.Violation(subject="plan", description=self.quota)
            details.append(error_details_pb2.QuotaFailure(violations=[violation]))
        if self.retry_after_seconds is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(int(self.retry_after_seconds * 1000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=self.status.value[0], message=self.sentence)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    async def abort(self, context: Any) -> NoReturn:
        trailing = [("grpc-status-details-bin", self.status_message().SerializeToString())] if self.reason else []
        await context.abort(self.status, self.sentence, tuple(trailing))
        raise AssertionError("abort raises")


UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "Postgres did not answer.", "DEPENDENCY_UNAVAILABLE", retry_after_seconds=0.1)

Watch = Callable[[training_pb2.WatchStatusRequest, Any], AsyncIterator[training_pb2.WatchStatusResponse]]


class ScriptedService(training_pb2_grpc.TrainingServiceServicer, ScriptedSearch, ScriptedConcurrency):
    def __init__(self) -> None:
        ScriptedSearch.__init__(self)
        ScriptedConcurrency.__init__(self)
        self.requests: list[Message] = []
        self.keys: set[str] = set()
        self.failures: defaultdict[str, list[Failure]] = defaultdict(list)
        self.trainings: dict[str, training_pb2.Training] = {}
        self.documents: list[training_pb2.Document] = []
        self.blobs: dict[str, bytes] = {}
        self.registry_answers = self.has_workers = True
        self.kept_out: dict[str, tuple[fleet_pb2.WorkerHealth.ValueType, str]] = {}
        self.uploads_now = 0
        self.most_uploads = 0
        self.tenants: dict[str, fleet_pb2.Tenant] = {}
        self.plans: dict[str, fleet_pb2.Plan] = {}
        self.usage: list[usage_pb2.UsageDay] = []
        self.limits = training_pb2.GetLimitsResponse()
        self.audit_log: list[fleet_pb2.AuditEntry] = []
        self.api_keys: dict[int, fleet_pb2.Key] = {}
        self.watch: Watch | None = None
        self.broken_watches: list[BaseException] = []
        self.duplicates: list[str] = []
        self.drop_positions: list[str] = []
        self.lines_read = 0
        self.page = 2

    def asked(self, kind: type[Message]) -> list[Any]:
        """The requests of one kind, in their order."""
        return [request for request in self.requests if isinstance(request, kind)]

    async def _enter(self, method: str, request: Message | None, context: Any) -> None:
        if request is not None:
            self.requests.append(request)
        self.keys |= {value for key, value in context.invocation_metadata() if key == "authorization"}
        if self.failures[method]:
            await self.failures[method].pop(0).abort(context)

    async def StartTraining(self, request: training_pb2.StartTrainingRequest, context: Any) -> training_pb2.StartTrainingResponse:
        await self._enter("StartTraining", request, context)
        count = len(request.documents) or request.numbered.count
        summary = training_pb2.TrainingSummary(documents=count, max_concurrency=5, plan="free", duplicate_ids=self.duplicates)
        if request.manifest_uri and self.lines_read:
            summary.documents = summary.manifest_lines = self.lines_read
            summary.partial = True
        summary.existed = request.training_task_id in self.trainings
        if request.validate_only:
            return training_pb2.StartTrainingResponse(summary=summary)
        training = self.trainings.setdefault(
            request.training_task_id,
            training_pb2.Training(training_task_id=request.training_task_id, state=training_pb2.TRAINING_STATE_QUEUED, total=count),
        )
        return training_pb2.StartTrainingResponse(training=training, summary=summary)

    async def _training(self, training_task_id: str, context: Any) -> training_pb2.Training:
        if training_task_id not in self.trainings:
            sentence = f"There is no training {training_task_id}."
            await Failure(grpc.StatusCode.NOT_FOUND, sentence, "TRAINING_NOT_FOUND").abort(context)
        return self.trainings[training_task_id]

    async def GetTraining(self, request: training_pb2.GetTrainingRequest, context: Any) -> training_pb2.GetTrainingResponse:
        await self._enter("GetTraining", request, context)
        return training_pb2.GetTrainingResponse(training=await self._training(request.training_task_id, context))

    async def ListTrainings(self, request: training_pb2.ListTrainingsRequest, context: Any) -> training_pb2.ListTrainingsResponse:
        await self._enter("ListTrainings", request, context)
        items = [t for t in self.trainings.values() if not request.states or t.state in request.states]
        start = int(request.page_token or 0)
        token = str(start + self.page) if start + self.page < len(items) else ""
        return training_pb2.ListTrainingsResponse(trainings=items[start : start + self.page], next_page_token=token)

    async def ListDocuments(self, request: training_pb2.ListDocumentsRequest, context: Any) -> training_pb2.ListDocumentsResponse:
        await self._enter("ListDocuments", request, context)
        await self._training(request.training_task_id, context)
        items = [d for d in self.documents if not request.states or d.state in request.states]
        start = int(request.page_token or 0)
        token = str(start + self.page) if start + self.page < len(items) else ""
        return training_pb2.ListDocumentsResponse(documents=items[start : start + self.page], next_page_token=token)

    async def CancelTraining(self, request: training_pb2.CancelTrainingRequest, context: Any) -> training_pb2.CancelTrainingResponse:
        await self._enter("CancelTraining", request, context)
        training = await self._training(request.training_task_id, context)
        if not has_ended(training):
            training.state = training_pb2.TRAINING_STATE_CANCELLED
        return training_pb2.CancelTrainingResponse(training=training)

    async def PauseTraining(self, request: training_pb2.PauseTrainingRequest, context: Any) -> training_pb2.PauseTrainingResponse:
        await self._enter("PauseTraining", request, context)
        training = await self._training(request.training_task_id, context)
        training.paused = True
        return training_pb2.PauseTrainingResponse(training=training)

    async def ResumeTraining(self, request: training_pb2.ResumeTrainingRequest, context: Any) -> training_pb2.ResumeTrainingResponse:
        await self._enter("ResumeTraining", request, context)
        training = await self._training(request.training_task_id, context)
        training.paused = False
        return training_pb2.ResumeTrainingResponse(training=training)

    async def RetryFailedDocuments(
        self, request: training_pb2.RetryFailedDocumentsRequest, context: Any
    ) -> training_pb2.RetryFailedDocumentsResponse:
        await self._enter("RetryFailedDocuments", request, context)
        await self._training(request.training_task_id, context)
        retry = training_pb2.Training(training_task_id=request.new_training_task_id, total=2, retry_of=request.training_task_id)
        self.trainings[retry.training_task_id] = retry
        return training_pb2.RetryFailedDocumentsResponse(training=retry)

    async def ExplainTraining(self, request: training_pb2.ExplainTrainingRequest, context: Any) -> training_pb2.ExplainTrainingResponse:
        await self._enter("ExplainTraining", request, context)
        training = await self._training(request.training_task_id, context)
        reason = "The plan guarantees 3; more are allowed while the machines bear it, up to 9."
        hold = training_pb2.Hold(
            rule=training_pb2.HOLD_RULE_PLAN_LIMIT,
            message="The plan's 5 documents at once are all in use.",
            advice="Wait.",
            ahead=[training_pb2.TrainingAhead(training_task_id="other", slots=5)],
        )
        return training_pb2.ExplainTrainingResponse(
            training=training, holds=[hold], plan_slots=5, plan_slots_reason=reason, slots_in_use_by_others=5
        )

    async def WatchStatus(self, request: training_pb2.WatchStatusRequest, context: Any) -> AsyncIterator[training_pb2.WatchStatusResponse]:
        await self._enter("WatchStatus", request, context)
        try:
            if self.watch is None:
                training = await self._training(request.training_task_id, context)
                yield training_pb2.WatchStatusResponse(training=training, resume_position="0")
                return
            async for message in self.watch(request, context):
                yield message
        except BaseException as broken:
            self.broken_watches.append(broken)
            raise

    async def UploadDocument(
        self, request: AsyncIterator[training_pb2.UploadDocumentRequest], context: Any
    ) -> training_pb2.UploadDocumentResponse:
        await self._enter("UploadDocument", None, context)
        self.uploads_now += 1
        self.most_uploads = max(self.most_uploads, self.uploads_now)
        content = b"".join([piece.chunk async for piece in request])
        self.uploads_now -= 1
        if not content:
            sentence = "The document is empty."
            await Failure(grpc.StatusCode.INVALID_ARGUMENT, sentence, "INVALID_REQUEST").abort(context)
        digest = hashlib.sha256(content).hexdigest()
        uri = f"blob://{digest}"
        self.blobs[uri] = content
        return training_pb2.UploadDocumentResponse(uri=uri, size=len(content), sha256=digest)

    async def DropUploads(self, request: training_pb2.DropUploadsRequest, context: Any) -> training_pb2.DropUploadsResponse:
        await self._enter("DropUploads", request, context)
        dropped = training_pb2.DropUploadsResponse(uploads=len(self.blobs), bytes=sum(map(len, self.blobs.values())))
        dropped.resume_position = self.drop_positions.pop(0) if self.drop_positions else ""
        dropped.complete = not dropped.resume_position
        if not request.validate_only:
            self.blobs.clear()
        return dropped

    async def ListWorkers(self, request: fleet_pb2.ListWorkersRequest, context: Any) -> fleet_pb2.ListWorkersResponse:
        await self._enter("ListWorkers", request, context)
        worker = fleet_pb2.Worker(worker_id="worker-1", session_id=7, lanes=6, lanes_in_use=2, slots_in_use=9, cpu=0.5, memory_bytes=2**30)
        worker.silence.FromMilliseconds(7500)
        other = fleet_pb2.Worker(worker_id="worker-2", session_id=8, lanes=6, cpu=-1, memory_bytes=-1)
        kept_out = [
            fleet_pb2.Worker(worker_id=name, session_id=9, lanes=6, health=health, health_reason=f"Ordered: {reason}")
            for name, (health, reason) in self.kept_out.items()
        ]
        workers = [worker, other, *kept_out] if self.has_workers else kept_out
        return fleet_pb2.ListWorkersResponse(workers=workers, registry_answered=self.registry_answers)

    async def CordonWorker(self, request: fleet_pb2.CordonWorkerRequest, context: Any) -> fleet_pb2.CordonWorkerResponse:
        await self._enter("CordonWorker", request, context)
        self.kept_out[request.worker_id] = fleet_pb2.WORKER_HEALTH_CORDONED, request.reason
        return fleet_pb2.CordonWorkerResponse()

    async def UncordonWorker(self, request: fleet_pb2.UncordonWorkerRequest, context: Any) -> fleet_pb2.UncordonWorkerResponse:
        await self._enter("UncordonWorker", request, context)
        if request.worker_id not in self.kept_out:
            sentence = f"No worker named {request.worker_id!r} is connected."
            await Failure(grpc.StatusCode.NOT_FOUND, sentence, "WORKER_NOT_FOUND").abort(context)
        del self.kept_out[request.worker_id]
        return fleet_pb2.UncordonWorkerResponse()

    async def DrainWorker(self, request: fleet_pb2.DrainWorkerRequest, context: Any) -> fleet_pb2.DrainWorkerResponse:
        await self._enter("DrainWorker", request, context)
        self.kept_out[request.worker_id] = fleet_pb2.WORKER_HEALTH_DRAINING, request.reason
        return fleet_pb2.DrainWorkerResponse()

    async def GetQueue(self, request: fleet_pb2.GetQueueRequest, context: Any) -> fleet_pb2.GetQueueResponse:
        await self._enter("GetQueue", request, context)
        tenant = fleet_pb2.TenantQueue(tenant_id="acme", pending_shards=3, paused_shards=1, slots_in_use=5, slots=5)
        return fleet_pb2.GetQueueResponse(pending_shards=3, paused_shards=1, open_documents=40, broker_messages=-1, tenants=[tenant])

    async def ListAllTrainings(self, request: fleet_pb2.ListAllTrainingsRequest, context: Any) -> fleet_pb2.ListAllTrainingsResponse:
        await self._enter("ListAllTrainings", request, context)
        training = fleet_pb2.TenantTraining(tenant_id="acme", training=training_pb2.Training(training_task_id="t-1"))
        return fleet_pb2.ListAllTrainingsResponse(trainings=[training])

    async def ListDeadLetters(self, request: fleet_pb2.ListDeadLettersRequest, context: Any) -> fleet_pb2.ListDeadLettersResponse:
        await self._enter("ListDeadLetters", request, context)
        letter = fleet_pb2.DeadLetter(cause="rejected", shard=0, explanation="It is no grant.")
        return fleet_pb2.ListDeadLettersResponse(dead_letters=[letter])

    async def CreateTenant(self, request: fleet_pb2.CreateTenantRequest, context: Any) -> fleet_pb2.CreateTenantResponse:
        await self._enter("CreateTenant", request, context)
        self.tenants[request.tenant.tenant_id] = request.tenant
        return fleet_pb2.CreateTenantResponse(tenant=request.tenant)

    async def UpdateTenant(self, request: fleet_pb2.UpdateTenantRequest, context: Any) -> fleet_pb2.UpdateTenantResponse:
        await self._enter("UpdateTenant", request, context)
        name = request.tenant.tenant_id
        if name not in self.tenants:
            await Failure(grpc.StatusCode.NOT_FOUND, f"There is no tenant {name!r}.", "TENANT_NOT_FOUND").abort(context)
        if not request.tenant.plan:
            request.tenant.plan = self.tenants[name].plan
        self.tenants[name] = request.tenant
        return fleet_pb2.UpdateTenantResponse(tenant=request.tenant)

    async def ListTenants(self, request: fleet_pb2.ListTenantsRequest, context: Any) -> fleet_pb2.ListTenantsResponse:
        await self._enter("ListTenants", request, context)
        items = list(self.tenants.values())
        start = int(request.page_token or 0)
        token = str(start + self.page) if start + self.page < len(items) else ""
        return fleet_pb2.ListTenantsResponse(tenants=items[start : start + self.page], next_page_token=token)

    async def PutPlan(self, request: fleet_pb2.PutPlanRequest, context: Any) -> fleet_pb2.PutPlanResponse:
        await self._enter("PutPlan", request, context)
        self.plans[request.plan.name] = request.plan
        return fleet_pb2.PutPlanResponse(plan=request.plan)

    async def UpdatePlan(self, request: fleet_pb2.UpdatePlanRequest, context: Any) -> fleet_pb2.UpdatePlanResponse:
        await self._enter("UpdatePlan", request, context)
        if request.name not in self.plans:
            await Failure(grpc.StatusCode.NOT_FOUND, f"There is no plan {request.name!r}.", "PLAN_NOT_FOUND").abort(context)
        for limit, value in request.ListFields():
            setattr(self.plans[request.name], limit.name, value)
        return fleet_pb2.UpdatePlanResponse(plan=self.plans[request.name])

    async def ListPlans(self, request: fleet_pb2.ListPlansRequest, context: Any) -> fleet_pb2.ListPlansResponse:
        await self._enter("ListPlans", request, context)
        return fleet_pb2.ListPlansResponse(plans=self.plans.values())

    async def CreateKey(self, request: fleet_pb2.CreateKeyRequest, context: Any) -> fleet_pb2.CreateKeyResponse:
        await self._enter("CreateKey", request, context)
        key_id = 12 + len(self.api_keys)
        key = fleet_pb2.Key(key_id=key_id, role=request.role, tenant_id=request.tenant_id, label=request.label)
        key.create_time.FromSeconds(1_800_000_000)
        self.api_keys[key_id] = key
        return fleet_pb2.CreateKeyResponse(key="a-new-key", key_id=key_id)

    async def SuspendTenant(self, request: fleet_pb2.SuspendTenantRequest, context: Any) -> fleet_pb2.SuspendTenantResponse:
        await self._enter("SuspendTenant", request, context)
        tenant = self.tenants[request.tenant_id]
        tenant.state, tenant.suspend_reason = fleet_pb2.TENANT_STATE_SUSPENDED, request.reason
        return fleet_pb2.SuspendTenantResponse(tenant=tenant)

    async def ResumeTenant(self, request: fleet_pb2.ResumeTenantRequest, context: Any) -> fleet_pb2.ResumeTenantResponse:
        await self._enter("ResumeTenant", request, context)
        tenant = self.tenants[request.tenant_id]
        tenant.state, tenant.suspend_reason = fleet_pb2.TENANT_STATE_ACTIVE, ""
        return fleet_pb2.ResumeTenantResponse(tenant=tenant)

    async def DeleteTenant(self, request: fleet_pb2.DeleteTenantRequest, context: Any) -> fleet_pb2.DeleteTenantResponse:
        await self._enter("DeleteTenant", request, context)
        tenant = self.tenants.pop(request.tenant_id)
        tenant.state = fleet_pb2.TENANT_STATE_DELETING
        return fleet_pb2.DeleteTenantResponse(tenant=tenant)

    async def DeletePlan(self, request: fleet_pb2.DeletePlanRequest, context: Any) -> fleet_pb2.DeletePlanResponse:
        await self._enter("DeletePlan", request, context)
        self.plans.pop(request.name)
        return fleet_pb2.DeletePlanResponse()

    async def GetTenantUsage(self, request: fleet_pb2.GetTenantUsageRequest, context: Any) -> fleet_pb2.GetTenantUsageResponse:
        await self._enter("GetTenantUsage", request, context)
        return fleet_pb2.GetTenantUsageResponse(days=self.usage)

    async def GetUsage(self, request: training_pb2.GetUsageRequest, context: Any) -> training_pb2.GetUsageResponse:
        await self._enter("GetUsage", request, context)
        return training_pb2.GetUsageResponse(days=self.usage)

    async def GetLimits(self, request: training_pb2.GetLimitsRequest, context: Any) -> training_pb2.GetLimitsResponse:
        await self._enter("GetLimits", request, context)
        return self.limits

    async def ListAuditLog(self, request: fleet_pb2.ListAuditLogRequest, context: Any) -> fleet_pb2.ListAuditLogResponse:
        await self._enter("ListAuditLog", request, context)
        return fleet_pb2.ListAuditLogResponse(entries=self.audit_log)

    async def ListKeys(self, request: fleet_pb2.ListKeysRequest, context: Any) -> fleet_pb2.ListKeysResponse:
        await self._enter("ListKeys", request, context)
        items = [key for key in self.api_keys.values() if request.tenant_id in ("", key.tenant_id)]
        start = int(request.page_token or 0)
        token = str(start + self.page) if start + self.page < len(items) else ""
        return fleet_pb2.ListKeysResponse(keys=items[start : start + self.page], next_page_token=token)

    async def RevokeKey(self, request: fleet_pb2.RevokeKeyRequest, context: Any) -> fleet_pb2.RevokeKeyResponse:
        await self._enter("RevokeKey", request, context)
        if request.key_id not in self.api_keys:
            await Failure(grpc.StatusCode.NOT_FOUND, f"There is no key {request.key_id}.", "KEY_NOT_FOUND").abort(context)
        self.api_keys[request.key_id].revoke_time.FromSeconds(1_800_000_100)
        return fleet_pb2.RevokeKeyResponse()


@dataclass(frozen=True)
class Serving:
    address: str
    server: grpc.aio.Server

    async def die(self) -> None:
        """Ends every call and the port at once, as a killed process does."""
        await self.server.stop(0)


@asynccontextmanager
async def serving(service: ScriptedService, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Serving]:
    """Serves on a free port of this machine until left."""
    server = grpc.aio.server()
    training_pb2_grpc.add_TrainingServiceServicer_to_server(service, server)
    search_pb2_grpc.add_SearchServiceServicer_to_server(service, server)
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0") if credentials is None else server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield Serving(f"localhost:{port}", server)
    finally:
        await server.stop(0)
