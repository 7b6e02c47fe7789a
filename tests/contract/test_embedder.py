"""What every embedder promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from doctrain_mesh import settings
from doctrain_mesh.embedding import Embedder
from doctrain_mesh.embedding.opening import open_embedder

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = ["The reef shelters fish.", "", "Bread rises.", "word " * 600, "Two rails make a railway, wide or narrow."]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["minilm"])
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    async with open_embedder(settings.load({}, embedding=request.param)) as opened:
        yield opened


async def test_each_text_has_a_vector_of_length_one(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


async def test_vectors_keep_the_order_of_their_texts_whatever_stands_beside_them(embedder: Embedder) -> None:
    together = await embedder.embed(TEXTS)
    alone = await asyncio.gather(*(embedder.embed([text]) for text in TEXTS))
    for vector, single in zip(together, alone, strict=True):
        assert float(vector @ single[0]) > 0.9999


async def test_what_is_longer_than_the_model_takes_is_cut_off(embedder: Embedder) -> None:
    whole, more = await embedder.embed(["word " * embedder.max_tokens, "word " * embedder.max_tokens + "and bread and fish"])
    assert float(whole @ more) > 0.9999


async def test_no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)
