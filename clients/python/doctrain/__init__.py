"""Client of doctrain, which trains documents for search.

    from doctrain import AsyncClient

    async with AsyncClient("localhost:7700", api_key=key) as client:
        started = await client.train_folder("documents")
        async for update in client.watch(started.training.training_task_id):
            print(update.training.message)

``Client`` is the same without asyncio. Names are imported at their first use, so that the generated messages
(``doctrain.v1``) and the command line load no more than they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from doctrain.client import AsyncClient
    from doctrain.errors import DoctrainError
    from doctrain.folder import Skipped
    from doctrain.requests import Unknown, new_training_task_id
    from doctrain.storing import Stored
    from doctrain.sync import Client
    from doctrain.timeouts import Timeouts
    from doctrain.v1.fleet_pb2 import Key, Plan, Role, Tenant, Worker
    from doctrain.v1.search_pb2 import GetIndexResponse, SearchHit, SearchMode
    from doctrain.v1.training_pb2 import (
        Document,
        DocumentInput,
        DocumentState,
        ManifestBeginning,
        NumberedDocuments,
        StartTrainingResponse,
        Training,
        TrainingState,
        UploadDocumentResponse,
    )
    from doctrain.watch import Interruption, Update, has_ended
    from doctrain.words import state_of

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "DoctrainError",
    "Document",
    "DocumentInput",
    "DocumentState",
    "GetIndexResponse",
    "Interruption",
    "Key",
    "ManifestBeginning",
    "NumberedDocuments",
    "Plan",
    "Role",
    "SearchHit",
    "SearchMode",
    "Skipped",
    "StartTrainingResponse",
    "Stored",
    "Tenant",
    "Timeouts",
    "Training",
    "TrainingState",
    "Unknown",
    "Update",
    "UploadDocumentResponse",
    "Worker",
    "__version__",
    "has_ended",
    "new_training_task_id",
    "state_of",
]

_HOMES = {
    "doctrain.client": ("AsyncClient",),
    "doctrain.errors": ("DoctrainError",),
    "doctrain.folder": ("Skipped",),
    "doctrain.requests": ("Unknown", "new_training_task_id"),
    "doctrain.storing": ("Stored",),
    "doctrain.sync": ("Client",),
    "doctrain.timeouts": ("Timeouts",),
    "doctrain.v1.fleet_pb2": ("Key", "Plan", "Role", "Tenant", "Worker"),
    "doctrain.v1.search_pb2": ("GetIndexResponse", "SearchHit", "SearchMode"),
    "doctrain.v1.training_pb2": (
        *("Document", "DocumentInput", "DocumentState", "ManifestBeginning", "NumberedDocuments", "StartTrainingResponse", "Training"),
        *("TrainingState", "UploadDocumentResponse"),
    ),
    "doctrain.watch": ("Interruption", "Update", "has_ended"),
    "doctrain.words": ("state_of",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
