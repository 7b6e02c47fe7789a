"""A model of the operator's own: a folder as sentence-transformers writes it, with the weights in ONNX.

- ``model.onnx``, or ``onnx/model.onnx``; weights in further files beside it are found by ONNX Runtime
- ``tokenizer.json``; what it pads with says ``tokenizer_config.json``
- ``1_Pooling/config.json``: the mean of all tokens, or the first; without it the mean
- ``sentence_bert_config.json``, ``tokenizer_config.json`` or ``config.json``: the longest text
- ``config_sentence_transformers.json``: what stands before a query, and before any other text

What else such a folder may ask for is refused: vectors would be made that are not the model's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doctrain_mesh.embedding import ModelError, tokens
from doctrain_mesh.embedding.onnx_model import OnnxModel, Recipe, open_session, output_of

MODEL_FILES = ("model.onnx", "onnx/model.onnx")
_TAKEN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_KNOWN_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLED_BY = "pooling_mode_"
_LONGEST_TOKENS = 8192
"""Where a folder says more, or nothing."""


def open_model(folder: Path) -> OnnxModel:
    """The model, loaded. Raises ModelError."""
    file = next((folder / name for name in MODEL_FILES if (folder / name).is_file()), None)
    if file is None:
        raise ModelError(f"{folder} holds no model.onnx; export the model to ONNX, or name another folder.")
    recipe = read_recipe(folder)
    try:
        session = open_session(str(file))
    except Exception as error:  # the library raises no narrower one
        raise ModelError(f"{file} cannot be loaded ({error}).") from error
    _check_graph(session, file)
    model = OnnxModel(_name(folder, file, recipe), 0, recipe, tokens.load(folder / "tokenizer.json"), lambda: session)
    model.dimensions = _dimensions(session, model)
    return model


def read_recipe(folder: Path) -> Recipe:
    """What the folder says of its model. Raises ModelError."""
    for module in _read(folder / "modules.json", []):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _KNOWN_MODULES:
            raise ModelError(f"{folder} has a module {kind}, which doctrain does not run; export it into model.onnx as sentence_embedding.")
    pad = _read(folder / "tokenizer_config.json", {}).get("pad_token")
    known = tokens.load(folder / "tokenizer.json")
    prompts = _read(folder / "config_sentence_transformers.json", {})
    return Recipe(
        max_tokens=_max_tokens(folder),
        first_token=_first_token(folder),
        pad=known.token_to_id(pad.get("content", "") if isinstance(pad, dict) else str(pad)) or 0,
        query_prompt=_prompt(prompts, "query"),
        text_prompt=_prompt(prompts, "document", "passage"),
    )


def _max_tokens(folder: Path) -> int:
    told = (
        _read(folder / "sentence_bert_config.json", {}).get("max_seq_length"),
        _read(folder / "tokenizer_config.json", {}).get("model_max_length"),
        _read(folder / "config.json", {}).get("max_position_embeddings"),
    )
    return int(min(next((most for most in told if isinstance(most, int | float) and most > 0), _LONGEST_TOKENS), _LONGEST_TOKENS))


def _first_token(folder: Path) -> bool:
    pooling = _read(folder / "1_Pooling" / "config.json", {f"{_POOLED_BY}mean_tokens": True})
    modes = {key.removeprefix(_POOLED_BY) for key, value in pooling.items() if key.startswith(_POOLED_BY) and value is True}
    if modes not in ({"mean_tokens"}, {"cls_token"}):
        raise ModelError(f"{folder} pools by {' and '.join(sorted(modes)) or 'nothing'}; doctrain pools by mean_tokens or cls_token.")
    return modes == {"cls_token"}


def _prompt(config: Mapping[str, Any], *names: str) -> str:
    prompts = config.get("prompts") or {}
    return str(next((prompts[name] for name in (*names, config.get("default_prompt_name")) if name in prompts), ""))


def _read(file: Path, otherwise: Any) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}).") from error


def _check_graph(session: Any, file: Path) -> None:
    unknown = sorted({one.name for one in session.get_inputs()} - _TAKEN_INPUTS)
    if unknown:
        raise ModelError(f"{file} asks for {', '.join(unknown)}, which doctrain has not; export it for feature extraction.")
    if not output_of(session):
        raise ModelError(f"{file} has neither an output sentence_embedding nor one with a vector for each token.")


def _dimensions(session: Any, model: OnnxModel) -> int:
    """The length of the vectors, as the graph says, else as a sentence shows."""
    output = output_of(session)
    told = next(one.shape[-1] for one in session.get_outputs() if one.name == output)
    return told if isinstance(told, int) else model.dimensions_shown()


def _name(folder: Path, file: Path, recipe: Recipe) -> str:
    """A name of what makes the vectors, not of where it lies: a folder may be at different places on different machines."""
    digest = hashlib.sha256(repr(recipe).encode())
    weights = {*file.parent.glob(f"{file.name}*"), *file.parent.glob("*.data")}
    for part in (*sorted(weights), folder / "tokenizer.json"):
        with part.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"onnx-{digest.hexdigest()[:12]}"
