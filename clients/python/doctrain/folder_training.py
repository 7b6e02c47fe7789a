"""Trains the files of a folder: what is asked before a byte is sent, what is stored, and how they are named to the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from doctrain import folder as folders
from doctrain import manifests, requests, storing
from doctrain.errors import InvalidRequestError, TrainingExistsError
from doctrain.folder import Labels, Scan, Skipped
from doctrain.storing import Blob, Stored
from doctrain.v1 import training_pb2

if TYPE_CHECKING:
    from doctrain.client import AsyncClient


async def train(
    client: AsyncClient,
    folder: str | Path | Scan,
    pattern: str,
    labels: Labels,
    *,
    store: Callable[[Path], Awaitable[Blob]],
    concurrency: int,
    training_task_id: str | None,
    validate_only: bool,
    retrain: bool,
    strict: bool,
    on_skipped: Callable[[Skipped], None],
    on_stored: Callable[[Stored], None],
) -> training_pb2.StartTrainingResponse:
    """See ``AsyncClient.train_folder``; ``store`` stores a file, of which ``concurrency`` are stored at once."""
    most_bytes = await storing.most_bytes(client.get_limits())
    found = await storing.scanned(folder, pattern, labels, strict=strict, most_bytes=most_bytes)
    stores = not (await _is_known(client, training_task_id, len(found.files)) or validate_only)
    documents = await storing.documents_of(
        found,
        store if stores else storing.named,
        concurrency=concurrency,
        strict=strict,
        on_skipped=on_skipped,
        on_stored=on_stored if stores else lambda _: None,
    )
    if folders.go_inline(documents):
        return await client.start_training(documents, training_task_id=training_task_id, validate_only=validate_only, retrain=retrain)
    place = await manifests.place(client, folders.manifest(documents), stores=not validate_only)
    return await client.start_training(**place, training_task_id=training_task_id, validate_only=validate_only, retrain=retrain)


async def _is_known(client: AsyncClient, training_task_id: str | None, count: int) -> bool:
    """Whether there is a training of that id; raises QuotaExceededError when there is none, nor may be one of so many documents."""
    if not count:
        return False
    try:
        asked = await client.start_training(numbered=requests.so_many(count), training_task_id=training_task_id, validate_only=True)
    except TrainingExistsError:
        return True
    except InvalidRequestError:  # of documents that differ by number only a service may take fewer than it takes by name
        return False
    return asked.summary.existed
