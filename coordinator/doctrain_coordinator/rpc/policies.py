"""Who may call what: every method has a role, and a method without one is nobody's."""

from __future__ import annotations

from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, ROLE_TENANT, ROLE_WORKER

PUBLIC = 0
"""Answered without a key: health and reflection tell nothing of tenants."""

_SEARCH = "/doctrain.v1.SearchService"

MOST_BYTES = {
    "/doctrain_mesh.v1.TrackerService/Track": 16 * 2**20,
    f"{_SEARCH}/Search": 2**20,
    f"{_SEARCH}/DeleteDocuments": 2**20,
}
"""The largest request of methods whose requests are small; the others take what the server takes."""

POLICIES: dict[str, int] = {
    **{
        f"/doctrain.v1.TrainingService/{method}": ROLE_TENANT
        for method in (
            "StartTraining",
            "GetTraining",
            "ListTrainings",
            "ListDocuments",
            "WatchStatus",
            "CancelTraining",
            "PauseTraining",
            "ResumeTraining",
            "RetryFailedDocuments",
            "ExplainTraining",
            "UploadDocument",
            "DropUploads",
            "GetUsage",
            "GetLimits",
        )
    },
    **{f"{_SEARCH}/{method}": ROLE_TENANT for method in ("Search", "DeleteDocuments", "GetIndex")},
    **{
        f"/doctrain.v1.FleetService/{method}": ROLE_OPERATOR
        for method in (
            "ListWorkers",
            "CordonWorker",
            "UncordonWorker",
            "DrainWorker",
            "GetQueue",
            "GetConcurrency",
            "SetConcurrency",
            "ClearConcurrency",
            "ListAllTrainings",
            "ListDeadLetters",
            "CreateTenant",
            "UpdateTenant",
            "SuspendTenant",
            "ResumeTenant",
            "DeleteTenant",
            "ListTenants",
            "GetTenantUsage",
            "ListAuditLog",
            "PutPlan",
            "DeletePlan",
            "ListPlans",
            "CreateKey",
            "ListKeys",
            "RevokeKey",
        )
    },
    "/doctrain_mesh.v1.TrackerService/Track": ROLE_WORKER,
    "/grpc.health.v1.Health/Check": PUBLIC,
    "/grpc.health.v1.Health/List": PUBLIC,
    "/grpc.health.v1.Health/Watch": PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": PUBLIC,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": PUBLIC,
}

FOR_TENANTS = frozenset(
    path
    for path, role in POLICIES.items()
    if role == ROLE_TENANT
    and path.startswith("/doctrain.v1.TrainingService/")
    and not path.endswith(("/StartTraining", "/UploadDocument", "/DropUploads"))
)
"""What operators may call for a tenant, to help it: nothing that gives it documents or drops what it uploaded, and nothing that
shows what its documents say.

They may retry what failed, in its name and within its plan; like all that they change this stands in the audit log as theirs.
"""
NOT_SUSPENDED = {
    *(f"/doctrain.v1.TrainingService/{method}" for method in ("StartTraining", "RetryFailedDocuments", "ResumeTraining", "UploadDocument")),
    f"{_SEARCH}/Search",
}
"""What is refused to a tenant that is suspended; it may still read, cancel and delete."""

CHANGES = frozenset(
    path
    for path, role in POLICIES.items()
    if role in (ROLE_TENANT, ROLE_OPERATOR) and not path.rpartition("/")[2].startswith(("Get", "List", "Watch", "Explain", "Search"))
)
"""What changes something."""

UNTRACED = {method for method, role in POLICIES.items() if role == PUBLIC} | {
    "/doctrain.v1.TrainingService/WatchStatus",
    "/doctrain_mesh.v1.TrackerService/Track",
}
"""Calls without a span of their own."""
