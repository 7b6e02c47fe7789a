"""Who may call what, and how it is served: every method has a policy, and a method without one is nobody's."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from doctrain_coordinator.tenants.identity import ROLE_OPERATOR, ROLE_TENANT, ROLE_WORKER
from doctrain_mesh import rpc

PUBLIC = 0
"""Answered without a key: health and reflection tell nothing of tenants."""
_NOBODY = -1
MOST_FIELDS = 250_000
FIELDS_OF_DOCUMENT = 25
"""Itself, its id, source and type, and some twenty pairs of metadata; a few documents may have more."""


class Cost(enum.Enum):
    """What a call costs, which says behind which gate it waits (``gates.py``)."""

    QUICK = enum.auto()
    STORING = enum.auto()
    """It stores documents."""
    DELETING = enum.auto()
    """It deletes documents or uploads, which may be many."""
    UPLOAD = enum.auto()
    SEARCH = enum.auto()
    WATCH = enum.auto()
    """It lasts as long as somebody looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one method.

    Args:
        role: of the keys that may call it.
        cost: behind which gate it waits.
        most_bytes: the largest message that a client may send; None: what the server takes.
        most_fields: how many fields that message may have (``wire.py``), which is more than its other limits leave room for; None: as many
            as the documents of a request need.
        changes: it changes something, which the audit log tells of.
        for_tenants: operators may call it for a tenant, to help it: nothing that gives it documents or drops what it uploaded, and nothing
            that shows what its documents say. They may retry what failed, in its name and within its plan; like all that they change
            this stands in the audit log as theirs.
        while_suspended: a tenant that is suspended may still call it: to read, to cancel and to delete.
        traced: a call is a span and is measured.
    """

    role: int
    cost: Cost = Cost.QUICK
    most_bytes: int | None = 2**20
    most_fields: int | None = 25_000
    changes: bool = False
    for_tenants: bool = False
    while_suspended: bool = True
    traced: bool = True

    def fields(self, documents: int) -> int:
        """How many fields a message may have, where a request may have as many documents."""
        return max(MOST_FIELDS, documents * FIELDS_OF_DOCUMENT) if self.most_fields is None else self.most_fields


_TRAINING = Policy(role=ROLE_TENANT, for_tenants=True)
_UPLOAD = Policy(role=ROLE_TENANT, cost=Cost.UPLOAD, changes=True, while_suspended=False)
_SEARCH = Policy(role=ROLE_TENANT, cost=Cost.SEARCH)
_FLEET = Policy(role=ROLE_OPERATOR)
_CHANGES_FLEET = replace(_FLEET, changes=True)
_PUBLIC = Policy(role=PUBLIC, most_bytes=2**16, traced=False)

POLICIES: Mapping[str, Policy] = {
    f"/{service}/{method}": policy
    for service, policies in {
        "doctrain.v1.TrainingService": {
            "StartTraining": Policy(
                role=ROLE_TENANT, cost=Cost.STORING, most_bytes=None, most_fields=None, changes=True, while_suspended=False
            ),
            "GetTraining": _TRAINING,
            "ListTrainings": _TRAINING,
            "ListDocuments": _TRAINING,
            "WatchStatus": replace(_TRAINING, cost=Cost.WATCH, most_bytes=2**16, traced=False),
            "CancelTraining": replace(_TRAINING, changes=True),
            "PauseTraining": replace(_TRAINING, changes=True),
            "ResumeTraining": replace(_TRAINING, changes=True, while_suspended=False),
            "RetryFailedDocuments": replace(_TRAINING, cost=Cost.STORING, most_bytes=2**23, changes=True, while_suspended=False),
            "ExplainTraining": _TRAINING,
            "UploadDocument": replace(_UPLOAD, most_bytes=2**20 + 2**10, most_fields=64),
            "DropUploads": Policy(role=ROLE_TENANT, cost=Cost.DELETING, changes=True),
            "GetUsage": _TRAINING,
            "GetLimits": _TRAINING,
        },
        "doctrain.v1.SearchService": {
            "Search": replace(_SEARCH, while_suspended=False),
            "DeleteDocuments": Policy(role=ROLE_TENANT, cost=Cost.DELETING, changes=True),
            "GetIndex": _SEARCH,
        },
        "doctrain.v1.FleetService": {
            "ListWorkers": _FLEET,
            "CordonWorker": _CHANGES_FLEET,
            "UncordonWorker": _CHANGES_FLEET,
            "DrainWorker": _CHANGES_FLEET,
            "GetQueue": _FLEET,
            "GetConcurrency": _FLEET,
            "SetConcurrency": _CHANGES_FLEET,
            "ClearConcurrency": _CHANGES_FLEET,
            "ListAllTrainings": _FLEET,
            "ListDeadLetters": _FLEET,
            "CreateTenant": _CHANGES_FLEET,
            "UpdateTenant": _CHANGES_FLEET,
            "SuspendTenant": _CHANGES_FLEET,
            "ResumeTenant": _CHANGES_FLEET,
            "DeleteTenant": _CHANGES_FLEET,
            "ListTenants": _FLEET,
            "GetTenantUsage": _FLEET,
            "ListAuditLog": _FLEET,
            "PutPlan": _CHANGES_FLEET,
            "UpdatePlan": _CHANGES_FLEET,
            "DeletePlan": _CHANGES_FLEET,
            "ListPlans": _FLEET,
            "CreateKey": _CHANGES_FLEET,
            "ListKeys": _FLEET,
            "RevokeKey": _CHANGES_FLEET,
        },
        "doctrain_mesh.v1.TrackerService": {
            "Track": Policy(role=ROLE_WORKER, most_bytes=rpc.LARGEST_OF_WORKERS, most_fields=2**19, traced=False)
        },
        "grpc.health.v1.Health": {"Check": _PUBLIC, "List": _PUBLIC, "Watch": _PUBLIC},
        "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": _PUBLIC},
    }.items()
    for method, policy in policies.items()
}
"""By the path of the method in gRPC."""

_NOBODYS = Policy(role=_NOBODY)


def policy_of(method: str) -> Policy:
    """The policy of ``/service/method``; nobody may call a method that has none."""
    return POLICIES.get(method, _NOBODYS)
