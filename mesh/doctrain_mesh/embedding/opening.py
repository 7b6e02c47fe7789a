"""The embedder that ``DOCTRAIN_EMBEDDING`` chooses, for processes with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doctrain_mesh.embedding import Embedder, Model, ModelError
from doctrain_mesh.embedding.choice import Choice, Kind
from doctrain_mesh.embedding.threaded import Threaded
from doctrain_mesh.errors import ConfigurationError
from doctrain_mesh.settings import Settings


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[Embedder]:
    """The embedder, closed at the end. A model of this process is loaded in a thread; ours only when the first text comes.

    Raises ConfigurationError when there is no such model. An endpoint need not answer yet.
    """
    choice = settings.choose_embedding()
    if choice.kind is Kind.ENDPOINT:
        from doctrain_mesh.embedding.endpoint import Endpoint, Place

        endpoint = Endpoint(
            Place(
                url=choice.place,
                model=settings.embedding_model,
                key=settings.embedding_key,
                dimensions=settings.embedding_dimensions,
                max_tokens=settings.embedding_max_tokens,
                requests_per_second=settings.embedding_requests_per_second,
            )
        )
        try:
            yield endpoint
        finally:
            await endpoint.close()
        return
    try:
        threaded = Threaded(await asyncio.to_thread(_load, choice))
    except ModelError as error:
        raise ConfigurationError(f"DOCTRAIN_EMBEDDING cannot be used. {error}") from error
    try:
        yield threaded
    finally:
        threaded.close()


def _load(choice: Choice) -> Model:
    from doctrain_mesh.embedding.loading import load_model  # the libraries of a model are large

    return load_model(choice)
