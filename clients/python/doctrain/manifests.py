"""Manifests that are here: stored before their training, or tried without, by how they begin and what they would be called."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctrain import room, storing
from doctrain.files import opened
from doctrain.v1 import training_pb2

if TYPE_CHECKING:
    from doctrain.client import AsyncClient

MOST_BYTES = 2**20 - 2**12
"""Of how a manifest begins, which fits into a request to any service."""


async def place(client: AsyncClient, manifest: Path | bytes, *, stores: bool) -> dict[str, Any]:
    """What ``start_training`` is to be given of the manifest, which is stored for it, or (``stores`` is False) tried.

    Raises QuotaExceededError when there cannot be room for it.
    """
    room.check_sizes(await room.limits(client.get_limits()), [len(manifest) if isinstance(manifest, bytes) else storing.size_of(manifest)])
    if stores:
        return {"manifest_uri": (await client.upload(manifest)).uri}
    return await asyncio.to_thread(_tried, manifest)


def _tried(manifest: Path | bytes) -> dict[str, Any]:
    if isinstance(manifest, bytes):
        digest, begins = hashlib.sha256(manifest), manifest[: MOST_BYTES + 1]
    else:
        with opened(manifest) as file:
            begins = file.read(MOST_BYTES + 1)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
    beginning = training_pb2.ManifestBeginning(lines=begins)
    if len(begins) > MOST_BYTES:
        lines = begins[: begins.rfind(b"\n") + 1] or begins  # of one that is too long the service is to say so
        beginning = training_pb2.ManifestBeginning(lines=lines, goes_on=True)
    return {"manifest_uri": f"blob://{digest.hexdigest()}", "manifest_beginning": beginning}
