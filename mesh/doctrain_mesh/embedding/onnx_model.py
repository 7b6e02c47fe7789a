"""Runs an ONNX model that makes vectors of sentences, on one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

WHOLE_OUTPUT = "sentence_embedding"
"""A graph with an output of this name pools by itself."""

_BATCH_TOKENS = 256
"""What goes through the model at once, padding included: as much as one long text of the model that comes with doctrain. More
was slower by up to a half, for it leaves the processor's cache, and took up to three times the memory; less is slower for short texts."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What there is to know of a model beside its weights.

    Args:
        max_tokens: what is longer is cut off.
        first_token: whether the first token's vector is the text's; else the mean of all.
        pad: the token that fills up shorter texts.
        query_prompt: stands before each query.
        text_prompt: stands before each other text.
    """

    max_tokens: int
    first_token: bool = False
    pad: int = 0
    query_prompt: str = ""
    text_prompt: str = ""


class OnnxModel:
    """A ``Model``.

    Args:
        name: model and version.
        dimensions: length of a vector.
        tokenizer: the model's own; belongs to this object from now on.
        open_session: loads the weights, when the first text comes.
    """

    def __init__(self, name: str, dimensions: int, recipe: Recipe, tokenizer: Tokenizer, open_session: Callable[[], Any]) -> None:
        self.name, self.dimensions, self.max_tokens = name, dimensions, recipe.max_tokens
        self._recipe = recipe
        self._open_session = open_session
        self._tokenizer = tokenizer
        tokenizer.enable_truncation(recipe.max_tokens)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Floats:
        """See ``Model``; texts are grouped by length, so that little is padded."""
        prompt = self._recipe.query_prompt if query else self._recipe.text_prompt
        tokens = [one.ids or [self._recipe.pad] for one in self._tokenizer.encode_batch_fast([prompt + text for text in texts])]
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for rows in _batches([len(one) for one in tokens]):
            vectors[rows] = self._run([tokens[row] for row in rows])
        return vectors

    def dimensions_shown(self) -> int:
        """The length of a vector, of a graph that does not say it."""
        return int(self._run([[self._recipe.pad]]).shape[1])

    @cached_property
    def _session(self) -> Any:
        return self._open_session()

    @cached_property
    def _inputs(self) -> set[str]:
        return {one.name for one in self._session.get_inputs()}

    @cached_property
    def _output(self) -> str:
        return output_of(self._session)

    def _run(self, tokens: Sequence[Sequence[int]]) -> Floats:
        shape = len(tokens), max(len(one) for one in tokens)
        ids, mask = np.full(shape, self._recipe.pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, one in enumerate(tokens):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        told: Floats = self._session.run([self._output], {name: known[name] for name in self._inputs})[0]
        return _normal(told if self._output == WHOLE_OUTPUT else self._pooled(told, mask))

    def _pooled(self, hidden: Floats, mask: Integers) -> Floats:
        if self._recipe.first_token:
            return hidden[:, 0]
        weight = mask[:, :, None].astype(np.float32)
        mean: Floats = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        return mean


def open_session(model: str | bytes, entries: Sequence[tuple[str, str]] = ()) -> Any:
    """A session on one thread.

    Args:
        model: a file's path, or its content.
        entries: of the session's configuration.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # With it memory grew to 900 MB on texts of mixed lengths.
    options.enable_cpu_mem_arena = False
    for key, value in entries:
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def output_of(session: Any) -> str:
    """The output that is used: the whole vectors where there are such, else the first with a vector a token, else nothing."""
    outputs = session.get_outputs()
    if any(one.name == WHOLE_OUTPUT for one in outputs):
        return WHOLE_OUTPUT
    return next((str(one.name) for one in outputs if len(one.shape) == 3), "")


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of like lengths, that fill a batch when each is as long as the longest."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batch and lengths[row] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _normal(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    normal: Floats = vectors / np.maximum(length, 1e-12)
    return normal
