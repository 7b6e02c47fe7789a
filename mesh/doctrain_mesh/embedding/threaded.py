"""A model of this process for the event loop: it computes in a thread of its own, and is loaded by the first text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from doctrain_mesh.embedding import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Threaded:
    """An ``Embedder``.

    Args:
        load: makes the model, in the thread.
    """

    def __init__(self, name: str, dimensions: int, max_tokens: int, load: Callable[[], Model]) -> None:
        self.name, self.dimensions, self.max_tokens = name, dimensions, max_tokens
        self._load = load
        self._model: Model | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    def close(self) -> None:
        """Takes no more texts; what computes ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """See ``Embedder``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts, query)

    def _embed(self, texts: Sequence[str], query: bool) -> npt.NDArray[np.float32]:
        if self._model is None:
            self._model = self._load()
        return self._model.embed(texts, query=query)
