"""Cuts texts for a model whose tokenizer is not known here, by the tokens of the model that comes with doctrain."""

from __future__ import annotations


class Shortened:
    """A function from a text to what a model takes of it.

    Args:
        max_tokens: the most; the marks that models put around a text are counted in.
    """

    def __init__(self, max_tokens: int) -> None:
        self._most = max_tokens

    def __call__(self, text: str) -> str:
        if len(text) < self._most:  # no token has less than a letter
            return text
        from doctrain_mesh.embedding import minilm

        encoded = minilm.tokenizer().encode(text)
        if len(encoded) <= self._most:
            return text
        return text[: encoded.offsets[self._most - 2][1]]
