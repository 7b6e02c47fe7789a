"""Vectors as the index takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NUMBER_BYTES = 2


def halves(vectors: npt.NDArray[np.float32]) -> bytes:
    """Big-endian half floats, one vector after the other."""
    return vectors.astype(">f2").tobytes()
