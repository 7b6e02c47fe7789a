"""Chunks and vectors of a document, in memory or in a file."""

from __future__ import annotations

import pytest

from doctrain_worker.pipeline.chunk_store import ChunkStore
from doctrain_worker.pipeline.wire import Chunk

VECTOR_BYTES = 8


def chunks(first: int, count: int, letters: int) -> list[Chunk]:
    return [Chunk(n, n + 1, 0, "Head", f"{n} " + "x" * letters) for n in range(first, first + count)]


@pytest.mark.parametrize("letters", [10, 50_000])
def test_batches_come_back_in_order_with_vectors_that_were_set_in_any(letters: int) -> None:
    with ChunkStore() as store:
        for batch in range(5):
            store.add(chunks(batch * 10, 10, letters))
        assert (len(store), store.batches) == (50, 5)
        for batch in (3, 0, 4, 2, 1):
            assert store.chunks(batch) == chunks(batch * 10, 10, letters)
            store.set_vectors(batch, b"".join(bytes([n]) * VECTOR_BYTES for n in range(batch * 10, batch * 10 + 10)))
        for _ in range(2):
            found = list(store)
            assert [chunk for chunk, _ in found] == chunks(0, 50, letters)
            assert [vector for _, vector in found] == [bytes([n]) * VECTOR_BYTES for n in range(50)]


def test_a_batch_whose_vectors_do_not_come_out_even_is_an_error() -> None:
    with ChunkStore() as store:
        store.add(chunks(0, 2, 1))
        store.set_vectors(0, bytes(VECTOR_BYTES - 1))
        with pytest.raises(ValueError, match="one vector for each"):
            list(store)
