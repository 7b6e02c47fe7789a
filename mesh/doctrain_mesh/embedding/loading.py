"""Loads the model of a choice where it computes, and the tokenizer that texts are measured with."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from tokenizers import Tokenizer

from doctrain_mesh.embedding import Model, ModelError
from doctrain_mesh.embedding.choice import Choice, Kind


def load_model(choice: Choice) -> Model:
    """The model, for one thread. Raises ModelError."""
    if choice.kind is Kind.MINILM:
        from doctrain_mesh.embedding import minilm

        return minilm.open_model()
    if choice.kind is Kind.FOLDER:
        from doctrain_mesh.embedding import folder

        return folder.open_model(Path(choice.place))
    if choice.kind is Kind.FUNCTION:
        return _made(choice.place)
    raise ModelError(f"{choice} computes elsewhere.")


def load_tokenizer(choice: Choice) -> tuple[Tokenizer, int]:
    """A tokenizer without cutting or padding, and the most tokens that the model takes.

    Of a model that shows no tokenizer of its own, those of the model that comes with doctrain, which have fewer letters than
    most. Raises ModelError.
    """
    from doctrain_mesh.embedding import folder, minilm, tokens

    if choice.kind is not Kind.FOLDER:
        return minilm.tokenizer(), minilm.MAX_TOKENS
    place = Path(choice.place)
    return tokens.load(place / "tokenizer.json"), folder.read_recipe(place).max_tokens


def _made(reference: str) -> Model:
    module, _, attribute = reference.partition(":")
    try:
        return cast("Model", getattr(importlib.import_module(module), attribute)())
    except Exception as error:  # another's code
        raise ModelError(f"{reference!r} cannot be loaded as a model ({error}).") from error
