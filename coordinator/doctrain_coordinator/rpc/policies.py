"""Who may call what: every method has a role, and a method without one is nobody's."""

from __future__ import annotations

from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, ROLE_TENANT, ROLE_WORKER
from doctrain_mesh import rpc

PUBLIC = 0
"""Answered without a key: health and reflection tell nothing of tenants."""

_SEARCH = "/doctrain.v1.SearchService"

_MOST_BYTES = {
    "/doctrain.v1.TrainingService/StartTraining": None,
    "/doctrain.v1.TrainingService/RetryFailedDocuments": 2**23,
    "/doctrain.v1.TrainingService/UploadDocument": 2**20 + 2**10,
    "/doctrain.v1.TrainingService/WatchStatus": 2**16,
    "/doctrain_mesh.v1.TrackerService/Track": rpc.LARGEST_OF_WORKERS,
}
_MOST_BYTES_OF_OTHERS = 2**20
_MOST_BYTES_WITHOUT_A_KEY = 2**16

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


def most_bytes(method: str) -> int | None:
    """The largest message that a client may send to a method; None for one that takes what the server takes."""
    others = _MOST_BYTES_WITHOUT_A_KEY if POLICIES.get(method) == PUBLIC else _MOST_BYTES_OF_OTHERS
    return _MOST_BYTES.get(method, others)


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
