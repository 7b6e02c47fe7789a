"""Trains the files of a folder: what is asked before a byte is sent, what is stored, and how they are named to the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctrain import folder as folders
from doctrain import manifests, requests, room, storing
from doctrain.errors import InvalidRequestError, QuotaExceededError, TrainingExistsError
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
    limits = await room.limits(client.get_limits())
    found = await storing.scanned(folder, pattern, labels, strict=strict, most_bytes=limits.document_bytes)
    is_known = await _is_known(client, training_task_id, len(found.files))
    manifest_bytes = await manifests.size_for(found, limits)
    await room.check_files(limits, () if is_known else found.files, manifest_bytes=manifest_bytes)
    stores = not (is_known or validate_only)
    try:
        documents = await storing.documents_of(
            found,
            store if stores else storing.named,
            concurrency=concurrency,
            strict=strict,
            on_skipped=on_skipped,
            on_stored=on_stored if stores else lambda _: None,
        )
        place = await _place(client, documents, limits, stores=not validate_only)
        return await client.start_training(**place, training_task_id=training_task_id, validate_only=validate_only, retrain=retrain)
    except QuotaExceededError as error:
        if not stores:
            raise
        raise room.stays(error) from error


async def _place(client: AsyncClient, documents: list[training_pb2.DocumentInput], limits: room.Limits, *, stores: bool) -> dict[str, Any]:
    """What ``start_training`` is to be given of the documents."""
    if await asyncio.to_thread(folders.go_inline, documents, limits):
        return {"documents": documents}
    return await manifests.place(client, await asyncio.to_thread(folders.manifest, documents), stores=stores)


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
