"""Turns text into vectors: workers embed chunks with it, coordinators queries. Vectors of two models never mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # not for those who only need to know the dimensions
    import numpy as np
    import numpy.typing as npt

DIMENSIONS = 384
"""Of the index's column; another model's vectors must have as many."""


class Embedder(Protocol):
    """A model.

    Attributes:
        name: model and version, kept with every vector in the index.
        dimensions: length of a vector.
        max_tokens: what is longer is cut off.
    """

    name: str
    dimensions: int
    max_tokens: int

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """One row a text, each of length 1. The same text has the same vector whatever it is embedded with."""
