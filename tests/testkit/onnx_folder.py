"""A folder with a tiny ONNX model: each word has a vector, and that is all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

DIMENSIONS = 6
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "word", "and", "bread", "fish", "reef", "rails", "find", "keep")


def table() -> Any:
    """The words' vectors, in the order of ``WORDS``."""
    return np.random.default_rng(7).normal(size=(len(WORDS), DIMENSIONS)).astype(np.float32)


def write(
    folder: Path,
    *,
    pooling: str = "mean_tokens",
    prompts: dict[str, str] | None = None,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    output: str = "last_hidden_state",
    modules: Sequence[str] = ("Transformer", "Pooling", "Normalize"),
    max_tokens: int = 16,
) -> Path:
    """Writes the folder, as sentence-transformers does."""
    (folder / "1_Pooling").mkdir(parents=True)
    _write_graph(folder / "model.onnx", inputs, output)
    _write_tokenizer(folder / "tokenizer.json")
    files = {
        "modules.json": [{"idx": at, "type": f"sentence_transformers.models.{kind}"} for at, kind in enumerate(modules)],
        "1_Pooling/config.json": {"word_embedding_dimension": DIMENSIONS, f"pooling_mode_{pooling}": True},
        "sentence_bert_config.json": {"max_seq_length": max_tokens},
        "tokenizer_config.json": {"pad_token": "[PAD]"},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def _write_graph(file: Path, inputs: Sequence[str], output: str) -> None:
    taken = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in inputs]
    whole = output == "sentence_embedding"
    given = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["texts", "size"] if whole else ["texts", "tokens", "size"])]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["words"])]
    nodes.append(helper.make_node("ReduceMean", ["words"], [output], axes=[1], keepdims=0) if whole else _same("words", output))
    graph = helper.make_graph(nodes, "tiny", taken, given, [numpy_helper.from_array(table(), "table")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))


def _same(name: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [name], [output])


def _write_tokenizer(file: Path) -> None:
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(file))
