"""The embedding model against the official weights, and against itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from doctrain_mesh.embedding import minilm
from doctrain_mesh.embedding.onnx_model import OnnxModel, open_session

# Made by a forward pass in numpy over the official float32 weights (model.safetensors of sentence-transformers/all-MiniLM-L6-v2,
# sha256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db), rounded to five digits.
REFERENCE = json.loads((Path(__file__).parent / "minilm_reference.json").read_text())


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return minilm.open_model()


def test_vectors_are_those_of_the_official_model(model: OnnxModel) -> None:
    vectors = model.embed(list(REFERENCE))
    assert vectors.shape == (len(REFERENCE), minilm.DIMENSIONS)
    for vector, reference in zip(vectors, REFERENCE.values(), strict=True):
        assert float(vector @ np.array(reference)) > 0.999
        assert abs(float(vector @ vector) - 1) < 1e-5


def test_the_runtime_tells_nobody_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        def __getattr__(self, name: str) -> Any:
            assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
            return lambda *_, **__: SimpleNamespace()

    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime())
    open_session(b"")
