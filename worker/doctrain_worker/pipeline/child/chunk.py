"""The stage ``chunk``: from what a document says to chunks that the embedding model takes whole. Runs in the parsing child.

``core.chunking`` cuts along the text's own structure, counting in the model's tokens (a character of Chinese may be
one); a single sentence that is too long is cut by semantic-text-splitter. A replacement is a function of the same argument
that answers chunks in any iterable (docs/howto/replace-a-stage.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby

from semantic_text_splitter import MarkdownSplitter

from doctrain_mesh.embedding.minilm import tokenizer
from doctrain_worker.core import chunking
from doctrain_worker.pipeline.wire import Chunk, Slice

MOST_TOKENS = 220
"""Leaves room for the headings below the model's 256."""

_LETTERS_A_TOKEN = 10
"""More than words have: what the tokenizer takes for one unknown word, however long, is cut by its letters."""


@cache
def _splitter() -> MarkdownSplitter:
    return MarkdownSplitter.from_huggingface_tokenizer(tokenizer(), MOST_TOKENS)


def chunk(slices: Iterable[Slice]) -> Iterator[Chunk]:
    """The chunks, in their order, each of one part and of at most ``MOST_TOKENS`` tokens; made as they are asked for."""
    for part, of_part in groupby(slices, key=lambda found: found.part):
        blocks = (block for found in of_part for block in found.blocks)
        for said in chunking.cut(blocks, _sizes, MOST_TOKENS, _splitter().chunk_indices):
            yield Chunk(said.start, said.end, said.page, said.heading, said.text, part)


def _sizes(texts: Sequence[str]) -> list[int]:
    encoded = tokenizer().encode_batch_fast(list(texts), add_special_tokens=False)
    return [max(len(one), -(-len(text) // _LETTERS_A_TOKEN)) for one, text in zip(encoded, texts, strict=True)]
