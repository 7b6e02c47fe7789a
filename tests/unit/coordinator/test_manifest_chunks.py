"""A manifest's chunks are bounded by bytes as by lines, and together are the whole manifest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from doctrain_coordinator.trainings import manifests
from doctrain_coordinator.trainings.manifests import ManifestReader
from doctrain_mesh.network.uris import UriRules

RULES = UriRules(file_root="", allow_private_addresses=False, blob_url="")
PIECE_BYTES = 2**20


async def pieces(lines: int, line_bytes: int) -> AsyncIterator[bytes]:
    """A manifest as a store sends it."""
    held = b""
    for n in range(lines):
        line = json.dumps({"document_id": str(n), "uri": "s3://bucket/x"}).encode()
        held += line + b" " * (line_bytes - len(line) - 1) + b"\n"
        while len(held) >= PIECE_BYTES:
            yield held[:PIECE_BYTES]
            held = held[PIECE_BYTES:]
    yield held


async def test_long_lines_make_short_chunks() -> None:
    reader, line_bytes = ManifestReader(pieces(1_000, 60_000), RULES), 60_000
    ids: list[str] = []
    last, offset = False, 0
    while not last:
        chunk = await reader.next_chunk(5_000)
        assert chunk.offset - offset < manifests.ENOUGH_BYTES + 2 * PIECE_BYTES
        ids += [row[0] for row in chunk.rows]
        last, offset = chunk.last, chunk.offset
        assert (chunk.lines, offset) == (len(ids), len(ids) * line_bytes)
    assert ids == [str(n) for n in range(1_000)]


async def test_a_reader_may_be_content_with_fewer_bytes() -> None:
    reader = ManifestReader(pieces(100, 60_000), RULES, enough_bytes=2**20)
    assert (await reader.next_chunk(5_000)).offset <= 2 * PIECE_BYTES


async def test_short_lines_are_counted() -> None:
    reader = ManifestReader(pieces(12_000, 100), RULES)
    assert [len((await reader.next_chunk(5_000)).rows) for _ in range(3)] == [5_000, 5_000, 2_000]
