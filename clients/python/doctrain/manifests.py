"""Manifests that are here: stored before their training, or tried without, by how they begin and what they would be called."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctrain import folder as folders
from doctrain import room, storing
from doctrain.errors import Details, RequestTooLargeError
from doctrain.files import opened
from doctrain.folder import Scan
from doctrain.v1 import training_pb2

if TYPE_CHECKING:
    from doctrain.client import AsyncClient

MOST_BYTES = 2**20 - 2**12
"""Of how a manifest begins, which fits into a request to any service."""
URI_OF_ANY = f"blob://{'0' * 64}"
"""As long as that of every upload."""
DESCRIBED_AT_ONCE = 10_000
"""Files, which takes a fraction of a second: a program that is interrupted ends no sooner."""


async def place_of_file(client: AsyncClient, manifest: Path, *, stores: bool) -> dict[str, Any]:
    """As ``place``; raises QuotaExceededError when there cannot be room for it."""
    room.check_sizes(await room.limits(client.get_limits()), [storing.size_of(manifest)])
    return await place(client, manifest, stores=stores)


async def place(client: AsyncClient, manifest: Path | bytes, *, stores: bool) -> dict[str, Any]:
    """What ``start_training`` is to be given of the manifest, which is stored for it, or (``stores`` is False) tried."""
    if stores:
        return {"manifest_uri": (await client.upload(manifest)).uri}
    return await asyncio.to_thread(_tried, manifest)


async def size_for(found: Scan, limits: room.Limits) -> int:
    """How many bytes the manifest of these files has, whose content is not looked at; 0 where one request may name them all.

    Raises RequestTooLargeError for one that the service would not store.
    """
    documents: list[training_pb2.DocumentInput] = []
    for start in range(0, len(found.files), DESCRIBED_AT_ONCE):
        documents += await asyncio.to_thread(_described, found, found.files[start : start + DESCRIBED_AT_ONCE])
    if await asyncio.to_thread(folders.go_inline, documents, limits):
        return 0
    size, most = len(await asyncio.to_thread(folders.manifest, documents)), limits.document_bytes
    if most and size > most:
        raise RequestTooLargeError(
            f"A manifest of these {len(documents):,} files has {size:,} bytes, and the service takes {most:,} bytes, so nothing was sent. "
            "Train them in several trainings, such as a folder at a time.",
            details=Details("REQUEST_TOO_LARGE", {"limit": str(most), "unit": "bytes"}),
        )
    return size


def _described(found: Scan, files: Sequence[Path]) -> list[training_pb2.DocumentInput]:
    return [folders.describe(found, path, URI_OF_ANY) for path in files]


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
