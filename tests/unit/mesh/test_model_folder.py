"""Folders of ONNX models: what they say is done, and what cannot be done is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doctrain_mesh.embedding import ModelError
from doctrain_mesh.embedding.choice import choose
from doctrain_mesh.embedding.folder import open_model
from doctrain_mesh.embedding.loading import load_tokenizer
from testkit import onnx_folder
from testkit.onnx_folder import DIMENSIONS, WORDS, table


def of(*words: str) -> Any:
    """The vectors of words, as rows."""
    return table()[[WORDS.index(word) for word in words]]


def normal(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def test_the_mean_of_all_tokens_is_the_vector(tmp_path: Path) -> None:
    model = open_model(onnx_folder.write(tmp_path / "m"))
    assert model.dimensions == DIMENSIONS
    assert model.max_tokens == 16
    expected = normal(of("[CLS]", "bread", "fish", "[SEP]").mean(axis=0))
    assert np.allclose(model.embed(["bread fish", "fish and bread and reef"])[0], expected, atol=1e-6)


def test_or_the_first_token_is(tmp_path: Path) -> None:
    model = open_model(onnx_folder.write(tmp_path / "m", pooling="cls_token"))
    assert np.allclose(model.embed(["bread"])[0], normal(of("[CLS]")[0]), atol=1e-6)


def test_a_graph_that_pools_by_itself_is_left_to_it(tmp_path: Path) -> None:
    model = open_model(onnx_folder.write(tmp_path / "m", pooling="cls_token", output="sentence_embedding"))
    assert model.dimensions == DIMENSIONS
    assert np.allclose(model.embed(["bread"])[0], normal(of("[CLS]", "bread", "[SEP]").mean(axis=0)), atol=1e-6)


def test_prompts_stand_before_queries_and_other_texts(tmp_path: Path) -> None:
    model = open_model(onnx_folder.write(tmp_path / "m", prompts={"query": "find ", "document": "keep "}))
    query, text = model.embed(["fish"], query=True)[0], model.embed(["fish"])[0]
    assert np.allclose(query, normal(of("[CLS]", "find", "fish", "[SEP]").mean(axis=0)), atol=1e-6)
    assert np.allclose(text, normal(of("[CLS]", "keep", "fish", "[SEP]").mean(axis=0)), atol=1e-6)


def test_the_name_is_of_what_makes_the_vectors_not_of_the_place(tmp_path: Path) -> None:
    here, there = (open_model(onnx_folder.write(tmp_path / name)).name for name in ("here", "there"))
    other = open_model(onnx_folder.write(tmp_path / "other", prompts={"query": "find "})).name
    assert here == there
    assert here != other


def test_texts_are_measured_by_the_model_s_own_tokens(tmp_path: Path) -> None:
    tokenizer, most = load_tokenizer(choose(f"onnx:{onnx_folder.write(tmp_path / 'm')}"))
    assert most == 16
    assert tokenizer.encode("bread fish", add_special_tokens=False).ids == [6, 7]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pooling": "max_tokens"}, "pools by max_tokens"),
        ({"modules": ("Transformer", "Pooling", "Dense")}, "a module Dense"),
        ({"inputs": ("input_ids", "pixels")}, "asks for pixels"),
    ],
)
def test_what_cannot_be_run_as_it_is_meant_is_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    folder = onnx_folder.write(tmp_path / "m", **changed)
    with pytest.raises(ModelError, match=says):
        open_model(folder)


BROKEN = [("model.onnx", "nonsense"), ("tokenizer.json", "{}"), ("modules.json", "{"), ("tokenizer.json", None), ("model.onnx", None)]


@pytest.mark.parametrize(("file", "content"), BROKEN)
def test_a_folder_with_a_broken_or_missing_file_says_which(tmp_path: Path, file: str, content: str | None) -> None:
    folder = onnx_folder.write(tmp_path / "m")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(ModelError, match=file):
        open_model(folder)


def test_a_folder_without_a_pooling_config_pools_by_the_mean(tmp_path: Path) -> None:
    folder = onnx_folder.write(tmp_path / "m", pooling="cls_token")
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 40}))
    model = open_model(folder)
    assert model.max_tokens == 40
    assert np.allclose(model.embed(["bread"])[0], normal(of("[CLS]", "bread", "[SEP]").mean(axis=0)), atol=1e-6)
