"""The stage ``chunk``: from what a document says to chunks that the embedding model takes whole. Runs in the parsing child.

``text.chunking`` cuts along the text's own structure, counting in the model's tokens (a character of Chinese may be
one); a single sentence that is too long is cut by semantic-text-splitter. A replacement is a function of the same argument
that answers chunks in any iterable (docs/howto/replace-a-stage.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from semantic_text_splitter import MarkdownSplitter
from tokenizers import Tokenizer

from doctrain_mesh.embedding.choice import choose
from doctrain_mesh.embedding.loading import load_tokenizer
from doctrain_worker.pipeline.methods import MODEL_VARIABLE
from doctrain_worker.pipeline.wire import Chunk, Slice
from doctrain_worker.text import chunking

MOST_TOKENS = 220
"""Of a chunk, whatever the model takes: longer ones say less precisely where something is found."""

_HEADING_TOKENS = 36
"""Room for the headings, which are embedded with the chunk; at most half of what the model takes."""

_LETTERS_A_TOKEN = 10
"""More than words have: what the tokenizer takes for one unknown word, however long, is cut by its letters."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """What the chunks of a model are measured with."""

    tokenizer: Tokenizer
    splitter: MarkdownSplitter
    most: int

    def sizes(self, texts: Sequence[str]) -> list[int]:
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [max(len(one), -(-len(text) // _LETTERS_A_TOKEN)) for one, text in zip(encoded, texts, strict=True)]


@cache
def _measure() -> _Measure:
    tokenizer, max_tokens = load_tokenizer(choose(os.environ.get(MODEL_VARIABLE, "minilm")))
    most = min(MOST_TOKENS, max(max_tokens - _HEADING_TOKENS, max_tokens // 2))
    return _Measure(tokenizer, MarkdownSplitter.from_huggingface_tokenizer(tokenizer, most), most)


def chunk(slices: Iterable[Slice]) -> Iterator[Chunk]:
    """The chunks, in their order, each of one part and of at most ``MOST_TOKENS`` tokens; made as they are asked for."""
    measure = _measure()
    for part, of_part in groupby(slices, key=lambda found: found.part):
        blocks = (block for found in of_part for block in found.blocks)
        for said in chunking.cut(blocks, measure.sizes, measure.most, measure.splitter.chunk_indices):
            yield Chunk(said.start, said.end, said.page, said.heading, said.text, part)
