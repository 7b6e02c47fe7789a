"""The embedder that ``DOCTRAIN_EMBEDDING`` chooses, for processes with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh.embedding import DIMENSIONS, Embedder
from doctrain_mesh.embedding.threaded import Threaded
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[Embedder]:
    """The embedder, closed at the end. Opens at once: a local model is loaded by the first text, in a thread.

    Raises ConfigurationError when there is none by that name.
    """
    if settings.embedding != "minilm":
        raise ConfigurationError(f"DOCTRAIN_EMBEDDING is {settings.embedding!r}; it must be minilm.")
    embedder = _minilm()
    try:
        yield embedder
    finally:
        embedder.close()


def _minilm() -> Threaded:
    from doctrain_mesh.embedding import minilm

    return Threaded(minilm.NAME, DIMENSIONS, minilm.MAX_TOKENS, minilm.MiniLm)
