"""What an embedding child runs: the stage ``embed``, in a process of its own because a model's memory is not a document's.

A replacement is a function without arguments that answers a ``doctrain_mesh.embedding.Model`` (docs/howto/replace-a-stage.md).
"""

from __future__ import annotations

import os
from functools import cache
from typing import cast

import numpy as np

from doctrain_mesh.embedding import DIMENSIONS, Model
from doctrain_mesh.embedding.minilm import MiniLm
from doctrain_worker.pipeline.child.stages import EMBED_VARIABLE
from doctrain_worker.sandbox.child import load


def minilm() -> Model:
    """The model that comes with doctrain."""
    return MiniLm()


@cache
def _embedder() -> Model:
    made = cast("Model", load(os.environ[EMBED_VARIABLE])())
    if made.dimensions != DIMENSIONS:
        raise ValueError(f"{made.name} makes vectors of {made.dimensions} dimensions; the index holds {DIMENSIONS}.")
    return made


def prepare() -> None:
    """Loads the model and runs it once."""
    _embedder().embed(["A sentence."])


def embed(texts: list[str]) -> tuple[str, bytes]:
    """The model's name, and the vectors as big-endian half floats, one after the other, as the index takes them."""
    vectors = _embedder().embed(texts)
    if not np.isfinite(vectors).all():
        raise ValueError("The model made a vector that is no number.")
    return _embedder().name, vectors.astype(">f2").tobytes()
