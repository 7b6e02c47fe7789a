"""Looks at the embedding model that the settings choose, without loading it."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from doctrain_mesh.embedding.choice import Choice, Kind
from doctrain_mesh.embedding.opening import open_embedder
from doctrain_mesh.errors import DoctrainError
from doctrain_mesh.settings import Settings
from doctrain_mesh.supervise import deadline
from doctrain_server.doctor.finding import Finding, Verdict, judged
from doctrain_server.required import model_folder_fault

ANSWER_SECONDS = 10.0
SUBJECT = "embedding"


async def examine_embedding(settings: Settings) -> list[Finding]:
    """What there is to say of it; an endpoint is asked for one vector."""
    choice = settings.choose_embedding()
    if choice.kind is Kind.MINILM:
        return [Finding(SUBJECT, Verdict.OK, "By the model that comes with doctrain.")]
    if choice.kind is Kind.FUNCTION:
        return [Finding(SUBJECT, Verdict.UNKNOWN, f"By what {choice.place} makes, which is not looked at.")]
    if choice.kind is Kind.FOLDER:
        return [await asyncio.to_thread(_folder, Path(choice.place))]
    return [await _endpoint(settings), *_transport(settings, choice)]


def _folder(folder: Path) -> Finding:
    fault = model_folder_fault(folder)
    return judged(SUBJECT, fault is None, fault or f"By the model in {folder}.")


async def _endpoint(settings: Settings) -> Finding:
    try:
        async with deadline("Asking the embedding endpoint", ANSWER_SECONDS), open_embedder(settings) as embedder:
            await embedder.embed(["A sentence."])
    except DoctrainError as error:
        return Finding(SUBJECT, Verdict.BAD, error.sentence)
    return Finding(
        SUBJECT, Verdict.OK, f"The endpoint answers with {embedder.dimensions} numbers a text; the index calls it {embedder.name}."
    )


def _transport(settings: Settings, choice: Choice) -> list[Finding]:
    parts = urlsplit(choice.place)
    if parts.scheme == "https" or _is_here(parts.hostname or ""):
        return []
    what = "Texts and the key go" if settings.embedding_key else "Texts go"
    return [judged(SUBJECT, False, f"{what} to the endpoint without TLS and can be read on the way; use https://.")]


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
