"""A model in a child that is shut in as strongly as works here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doctrain_mesh.embedding.folder import open_model
from doctrain_worker.pipeline.halves import halves
from doctrain_worker.pipeline.methods import EMBED, MODEL_VARIABLE
from doctrain_worker.sandbox.main import isolation
from doctrain_worker.sandbox.main.link import Guardian
from doctrain_worker.sandbox.main.pool import ChildPool, ChildSpec, ChildStartError
from doctrain_worker.sandbox.shared.ends import Result
from testkit import onnx_folder

TEXTS = ["bread and fish", "rails", ""]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A model's folder that every user may read, as children are users of their own."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield onnx_folder.write(Path(place) / "tiny")


def spec(model: str) -> ChildSpec:
    return ChildSpec(EMBED.function, prepare=EMBED.prepare, environment=((MODEL_VARIABLE, model),))


async def test_a_child_makes_the_vectors_of_an_operators_own_model(folder: Path) -> None:
    seen = isolation.choose(reads=[str(folder)])
    async with Guardian.open() as guardian, ChildPool.open(guardian, spec(f"onnx:{folder}"), 1, seen) as pool:
        end = await pool.run(TEXTS, 20.0, EMBED.answer)
    assert isinstance(end, Result)
    model = open_model(folder)
    assert end.value[0] == model.name
    vectors = np.frombuffer(end.value[1], dtype=">f2").astype(np.float32).reshape(len(TEXTS), model.dimensions)
    assert np.allclose(vectors, model.embed(TEXTS), atol=1e-3)
    assert halves(model.embed(TEXTS)) == end.value[1]


def empty(folder: Path) -> None:
    for file in folder.rglob("*.*"):
        file.unlink()


async def test_a_child_loads_its_model_once(folder: Path) -> None:
    seen = isolation.choose(reads=[str(folder)])
    async with Guardian.open() as guardian, ChildPool.open(guardian, spec(f"onnx:{folder}"), 1, seen) as pool:
        empty(folder)
        ends = [await pool.run(TEXTS, 20.0, EMBED.answer) for _ in range(5)]
    values = [end.value for end in ends if isinstance(end, Result)]
    assert len(values) == 5
    assert all(value == values[0] for value in values)


async def test_a_model_that_is_not_there_keeps_the_worker_from_starting(folder: Path) -> None:
    seen = isolation.choose(reads=[str(folder)])
    with pytest.raises(ChildStartError, match="before it was ready"):
        async with Guardian.open() as guardian, ChildPool.open(guardian, spec(f"onnx:{folder}/gone"), 1, seen):
            pass
