"""A model of this process for the event loop: it computes in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from doctrain_mesh.embedding import Model, ModelError
from doctrain_mesh.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Threaded:
    """An ``Embedder``. ``close`` gives its thread back."""

    def __init__(self, model: Model) -> None:
        self.name, self.dimensions, self.max_tokens = model.name, model.dimensions, model.max_tokens
        self._model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    def close(self) -> None:
        """Takes no more texts; what computes ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """See ``Embedder``. Raises ConfigurationError when the model cannot be loaded."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts, query)

    def _embed(self, texts: Sequence[str], query: bool) -> npt.NDArray[np.float32]:
        try:
            return self._model.embed(texts, query=query)
        except ModelError as error:
            raise ConfigurationError(f"DOCTRAIN_EMBEDDING cannot be used. {error}") from error
