"""Tokenizers: what a model counts in, and is cut by."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from doctrain_mesh.embedding import ModelError


def load(file: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``, without cutting or padding. Raises ModelError."""
    try:
        loaded = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower one
        raise ModelError(f"{file} cannot be read as a tokenizer ({error}).") from error
    loaded.no_truncation()
    loaded.no_padding()
    return loaded
