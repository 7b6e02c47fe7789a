"""The model that queries are embedded with: the same as the workers', opened by the first who needs it."""

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
        opens: makes the embedder. Not before it is needed: the libraries of a model are large.
    """

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[Embedder]]) -> None:
        self._opens = opens
        self._lifetime = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._embedder: Embedder | None = None

    async def close(self) -> None:
        """Closes the embedder, if it was opened."""
        await self._lifetime.aclose()

    async def opened(self) -> Embedder:
        """The embedder. Raises EmbeddingUnavailableError when there is no such model here; the next who needs it tries again."""
        async with self._opening:
            if self._embedder is None:
                with _told_to_tenants():
                    self._embedder = await self._lifetime.enter_async_context(self._opens())
        return self._embedder

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
