"""What each part of a mesh of several processes cannot do without, looked at before it starts anything."""

from __future__ import annotations

import os
from pathlib import Path

from doctrain_mesh import credentials
from doctrain_mesh.embedding.choice import Kind
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings

STAND_IN = "memory:"
ELSEWHERE = "the stand-in of `doctrain dev` alone, which no other process can share"


def check_coordinator(settings: Settings) -> None:
    """Raises ConfigurationError that says what a coordinator lacks. Without a registry it serves those who name it."""
    if not settings.database_url:
        raise ConfigurationError("DOCTRAIN_DATABASE_URL is not set; `doctrain dev` runs a mesh that brings its own Postgres.")
    if not settings.blob_url:
        raise ConfigurationError("DOCTRAIN_BLOB_URL is not set: the folder or bucket that keeps the documents' bytes.")
    _check_broker(settings)


def check_worker(settings: Settings) -> None:
    """Raises ConfigurationError that says what a worker lacks."""
    if not settings.worker_key:
        raise ConfigurationError("DOCTRAIN_WORKER_KEY is not set; `doctrain-server bootstrap` or an operator makes one.")
    _check_broker(settings)
    if settings.registry_url.startswith(STAND_IN) and not settings.coordinators.strip(" ,"):
        raise ConfigurationError(
            f"The worker would find no coordinator: DOCTRAIN_REGISTRY_URL is {STAND_IN}, {ELSEWHERE}, and DOCTRAIN_COORDINATORS names "
            "none. Set DOCTRAIN_REGISTRY_URL to etcd://HOST:2379, or DOCTRAIN_COORDINATORS to HOST:PORT of each."
        )
    credentials.for_coordinators(settings)
    check_reading(settings)


def check_reading(settings: Settings) -> None:
    """Raises ConfigurationError that says what is missing where documents are read, whichever process starts the children."""
    if settings.processor:
        return
    if not settings.database_url or not settings.blob_url:
        raise ConfigurationError("A worker needs DOCTRAIN_DATABASE_URL for the index and DOCTRAIN_BLOB_URL for the documents' bytes.")
    check_model(settings)


def check_model(settings: Settings) -> None:
    """Raises ConfigurationError when the folder of the embedding model cannot be read."""
    model = settings.choose_embedding()
    fault = model_folder_fault(Path(model.place)) if model.kind is Kind.FOLDER else None
    if fault is not None:
        raise ConfigurationError(fault)


def model_folder_fault(folder: Path) -> str | None:
    """What is wrong with a model's folder, in a sentence; None when it can be read."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        return f"{folder} is no folder that this user may read; see DOCTRAIN_EMBEDDING."
    return None


def _check_broker(settings: Settings) -> None:
    if settings.broker_url.startswith(STAND_IN):
        raise ConfigurationError(
            f"DOCTRAIN_BROKER_URL is {STAND_IN}, {ELSEWHERE}; set it to the RabbitMQ of the mesh, as amqp://USER:PASSWORD@HOST/."
        )
