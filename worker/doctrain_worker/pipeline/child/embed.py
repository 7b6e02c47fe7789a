"""What an embedding child runs: a model, in a process of its own because its memory is not a document's."""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from doctrain_mesh.embedding import Model
from doctrain_mesh.embedding.choice import choose
from doctrain_mesh.embedding.loading import load_model
from doctrain_worker.pipeline.halves import halves
from doctrain_worker.pipeline.methods import MODEL_VARIABLE
from doctrain_worker.pipeline.wire import Embedded


@cache
def _model() -> Model:
    return load_model(choose(os.environ[MODEL_VARIABLE]))


def prepare() -> None:
    """Loads the model and runs it once."""
    _model().embed(["A sentence."])


def embed(texts: list[str]) -> Embedded:
    """The model's name, and the vectors of the texts as the index takes them."""
    model = _model()
    vectors = model.embed(texts)
    if vectors.shape != (len(texts), model.dimensions) or not np.isfinite(vectors).all():
        raise ValueError(f"The model {model.name} made no proper vector of {model.dimensions} numbers for each text.")
    return model.name, halves(vectors)
