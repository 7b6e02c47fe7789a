"""Turns text into vectors: workers embed chunks with it, coordinators queries. Vectors of two models never mix.

``DOCTRAIN_EMBEDDING`` says which model (``choice``). One that computes here is a ``Model``: workers have it in children,
coordinators in a thread. What an event loop asks, wherever the model runs, is an ``Embedder``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # not for those who compute nothing
    import numpy as np
    import numpy.typing as npt


class ModelError(Exception):
    """A model cannot be used; says why, and what to do."""


class Described(Protocol):
    """What every model says of itself.

    Attributes:
        name: model and version, kept with every document in the index.
        dimensions: length of a vector.
        max_tokens: what is longer is cut off.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def max_tokens(self) -> int: ...


class Model(Described, Protocol):
    """A model in this process: computes where it is called, for one thread at a time."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """One row a text, each of length 1. The same text has the same vector whatever it is embedded with.

        ``query``: the texts are what somebody looks for; some models want to know it.
        """


class Embedder(Described, Protocol):
    """A model wherever it runs. Made by ``opening.open_embedder``."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """See ``Model``; several calls may be made at once. Raises EmbeddingUnavailableError, which may be gone another time."""
