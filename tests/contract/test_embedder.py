"""What every embedder promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
import pytest_asyncio

from doctrain_mesh import settings
from doctrain_mesh.embedding import Embedder
from doctrain_mesh.embedding.opening import open_embedder
from testkit import embedding_server, onnx_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = ["the reef and the fish", "", "bread", "word " * 600, "rails and rails and more rails", *(f"bread {n}" for n in range(40))]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["minilm", "onnx", "openai"])
async def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedder]:
    async with AsyncExitStack() as stack:
        if request.param == "openai":
            server = stack.enter_context(embedding_server.serve())
            chosen = settings.load(
                {}, embedding=f"openai:{server.url}", embedding_model="m", embedding_dimensions=embedding_server.DIMENSIONS
            )
        elif request.param == "onnx":
            chosen = settings.load({}, embedding=f"onnx:{onnx_folder.write(tmp_path_factory.mktemp('model') / 'tiny')}")
        else:
            chosen = settings.load({}, embedding=request.param)
        yield await stack.enter_async_context(open_embedder(chosen))


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


async def test_different_texts_have_different_vectors(embedder: Embedder) -> None:
    reef, bread = await embedder.embed(["reef and fish", "bread"])
    assert float(reef @ bread) < 0.99


async def test_what_is_longer_than_the_model_takes_is_cut_off(embedder: Embedder) -> None:
    whole, more = await embedder.embed(["word " * embedder.max_tokens, "word " * embedder.max_tokens + "and bread and fish"])
    assert float(whole @ more) > 0.9999


async def test_a_query_has_a_vector_of_the_same_kind(embedder: Embedder) -> None:
    assert (await embedder.embed(["fish"], query=True)).shape == (1, embedder.dimensions)


async def test_no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


async def test_the_name_tells_models_apart_and_can_be_kept(embedder: Embedder) -> None:
    assert embedder.name.isprintable()
    assert 5 < len(embedder.name) < 100
