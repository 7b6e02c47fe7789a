"""The chunks of one document on their way to the index, with their vectors.

A large document has tens of thousands, so they are in a temporary file once they are more than a megabyte; the worker's
memory holds where each batch begins, and one batch at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType

import msgspec

from doctrain_worker.pipeline.wire import Chunk

_IN_MEMORY_BYTES = 1 << 20

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Chunk])

_Place = tuple[int, int]  # where in the file, and how long


class ChunkStore:
    """Batches of chunks, in their order; then the vectors of each batch, in any. To be closed."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __exit__
        self._end = 0
        self._chunks: list[_Place] = []
        self._vectors: dict[int, _Place] = {}
        self._count = 0

    def __enter__(self) -> ChunkStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many chunks there are."""
        return self._count

    @property
    def batches(self) -> int:
        """How many batches they came in."""
        return len(self._chunks)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """The next batch. Raises OSError when there is no room for it."""
        self._chunks.append(self._write(_encoder.encode(chunks)))
        self._count += len(chunks)

    def clear(self) -> None:
        """Forgets all batches."""
        self._file.seek(0)
        self._file.truncate()
        self._end = self._count = 0
        self._chunks.clear()
        self._vectors.clear()

    def chunks(self, batch: int) -> list[Chunk]:
        """One batch."""
        return _decoder.decode(self._read(self._chunks[batch]))

    def set_vectors(self, batch: int, vectors: bytes) -> None:
        """The vectors of a batch, one after the other. Raises OSError when there is no room for them."""
        self._vectors[batch] = self._write(vectors)

    def __iter__(self) -> Iterator[tuple[Chunk, bytes]]:
        """Each chunk with its vector."""
        for batch in range(self.batches):
            vectors = self._read(self._vectors[batch])
            chunks = self.chunks(batch)
            size, rest = divmod(len(vectors), len(chunks))
            if rest or not size:
                raise ValueError("There is not one vector for each chunk.")
            for place, chunk in enumerate(chunks):
                yield chunk, vectors[place * size : (place + 1) * size]

    def _write(self, content: bytes) -> _Place:
        place = self._end, len(content)
        self._file.seek(self._end)
        self._file.write(content)
        self._end += len(content)
        return place

    def _read(self, place: _Place) -> bytes:
        self._file.seek(place[0])
        return self._file.read(place[1])
