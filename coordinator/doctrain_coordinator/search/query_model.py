"""The model that queries are embedded with: the same as the workers', opened by the first who needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from doctrain_mesh.embedding import Embedder
from doctrain_mesh.supervise import deadline

EMBED_SECONDS = 10.0


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
        """The embedder. Raises ConfigurationError."""
        async with self._opening:
            if self._embedder is None:
                self._embedder = await self._lifetime.enter_async_context(self._opens())
        return self._embedder

    async def vector(self, query: str) -> str:
        """The query's vector as Postgres reads it. Raises UnavailableError."""
        async with deadline("Embedding the query", EMBED_SECONDS):
            vectors = await (await self.opened()).embed([query], query=True)
        return str(vectors[0].tolist())
