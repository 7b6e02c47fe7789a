"""The embedding model against the official weights, and against itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from doctrain_mesh.embedding import DIMENSIONS
from doctrain_mesh.embedding.minilm import MiniLm

# Made by a forward pass in numpy over the official float32 weights (model.safetensors of sentence-transformers/all-MiniLM-L6-v2,
# sha256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db), rounded to five digits.
REFERENCE = json.loads((Path(__file__).parent / "minilm_reference.json").read_text())


@pytest.fixture(scope="module")
def model() -> MiniLm:
    return MiniLm()


def test_vectors_are_those_of_the_official_model(model: MiniLm) -> None:
    vectors = model.embed(list(REFERENCE))
    assert vectors.shape == (len(REFERENCE), DIMENSIONS)
    for vector, reference in zip(vectors, REFERENCE.values(), strict=True):
        assert float(vector @ np.array(reference)) > 0.999
        assert abs(float(vector @ vector) - 1) < 1e-5


def test_a_text_has_one_vector_whatever_stands_beside_it(model: MiniLm) -> None:
    texts = ["short", "a somewhat longer sentence of several words", "word " * 600, "", "one more"]
    together = model.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        assert float(model.embed([text])[0] @ vector) > 0.9999


def test_no_texts_make_no_vectors(model: MiniLm) -> None:
    assert model.embed([]).shape == (0, DIMENSIONS)
