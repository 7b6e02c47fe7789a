"""The model that queries are embedded with: the same as the workers', loaded once, beside all that a coordinator does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager

from doctrain_mesh.embedding import Embedder
from doctrain_mesh.errors import ConfigurationError, EmbeddingUnavailableError
from doctrain_mesh.supervise import deadline

EMBED_SECONDS = 10.0
RETRY_SECONDS = 30.0

log = logging.getLogger(__name__)


class QueryModel:
    """To be closed.

    Args:
        opens: makes the embedder. Not at once: the libraries of a model are large, and nothing but what needs it waits for them.
    """

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[Embedder]]) -> None:
        self._opens = opens
        self._lifetime = AsyncExitStack()
        self._opening: asyncio.Task[Embedder] | None = None

    async def close(self) -> None:
        """Closes the embedder, if it was opened."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self._lifetime.aclose()

    async def opened(self) -> Embedder:
        """The embedder. Raises EmbeddingUnavailableError when there is no such model here; the next who needs it tries again.

        Raises OperationTimeoutError when that takes long; it is opened once all the same, for whoever needs it later.
        """
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open(), name="opening the model of queries")
        async with deadline("Loading the model that queries are embedded with", EMBED_SECONDS):
            return await asyncio.shield(self._opening)

    async def _open(self) -> Embedder:
        with _told_to_tenants():
            return await self._lifetime.enter_async_context(self._opens())

    async def vector(self, query: str) -> str:
        """The query's vector as Postgres reads it. Raises UnavailableError."""
        embedder = await self.opened()
        async with deadline("Embedding the query", EMBED_SECONDS):
            with _told_to_tenants():
                vectors = await embedder.embed([query], query=True)
        return str(vectors[0].tolist())


@contextmanager
def _told_to_tenants() -> Iterator[None]:
    """What is wrong with the model is the operators' to mend, and in the log; where its files are is nothing for tenants."""
    try:
        yield
    except ConfigurationError as error:
        log.error("Nothing can be searched: %s", error)
        sentence = "The model that queries are embedded with cannot be loaded; its operators find the reason in the coordinator's log."
        raise EmbeddingUnavailableError(sentence, retry_after_seconds=RETRY_SECONDS) from error
