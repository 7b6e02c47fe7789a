"""A manifest's chunks are bounded by bytes as by lines, and together are the whole manifest."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from doctrain_coordinator.trainings import manifests
from doctrain_coordinator.trainings.manifests import ManifestReader
from doctrain_mesh.errors import InvalidManifestError
from doctrain_mesh.network.uris import UriRules

RULES = UriRules(file_root="", allow_private_addresses=False, blob_url="")
PIECE_BYTES = 2**20
LINE = b'{"document_id": "%d", "uri": "s3://bucket/x"}'


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


async def given(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("blank", [b"\n", b"\r\n"])
async def test_blank_lines_are_gone_over_once_and_beside_the_loop(blank: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack: 16 MiB of line ends took ten seconds of the loop that answers everybody."""
    threads, parse = list[int](), ManifestReader._parse

    def noted(self: ManifestReader, *arguments: Any) -> None:
        threads.append(threading.get_ident())
        parse(self, *arguments)

    monkeypatch.setattr(ManifestReader, "_parse", noted)
    reader = ManifestReader(given(*[blank * (PIECE_BYTES // len(blank))] * 16, b"wrong"), RULES)
    chunk = await reader.next_chunk(5_000)
    assert (chunk.count, chunk.last) == (0, False)
    assert chunk.offset == chunk.lines * len(blank) == 16 * PIECE_BYTES
    with pytest.raises(InvalidManifestError, match=f"Line {PIECE_BYTES // len(blank) * 16 + 1:,} of the manifest"):
        await reader.next_chunk(5_000)
    assert len(threads) == 17, "once a piece"
    assert threading.get_ident() not in threads


async def test_lines_are_counted_and_placed_whatever_is_blank_between_them_and_wherever_they_are_cut() -> None:
    lines = [b"\xef\xbb\xbf \t", b"", b"  " + LINE % 1, b"\r", LINE % 2 + b"\r", b" " * 60_000, LINE % 3, b"", b" ", LINE % 4]
    whole = b"\n".join(lines)
    for size in (7, 1_000, 100_000):
        cut = [whole[at : at + size] for at in range(0, len(whole), size)]
        reader, found = ManifestReader(given(*cut), RULES), dict[str, int]()
        chunk = await reader.next_chunk(1)
        while True:
            found |= zip((row[0] for row in chunk.rows), chunk.line_of, strict=True)
            assert whole[: chunk.offset].count(b"\n") == chunk.lines - chunk.last
            if chunk.last:
                break
            if size == 1_000:  # as another loader goes on with it
                reader = ManifestReader(given(whole[chunk.offset :]), RULES, offset=chunk.offset, lines=chunk.lines)
            chunk = await reader.next_chunk(1)
        assert found == {"1": 3, "2": 5, "3": 7, "4": 10}


async def test_a_manifest_has_so_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MOST_LINES", 3)
    assert (await ManifestReader(given(b"\n\n", LINE % 1), RULES).next_chunk(9)).count == 1
    for much in (b"\n" * 9, b"\n\n\n" + LINE % 1):
        with pytest.raises(InvalidManifestError, match="at most 3 lines"):
            await ManifestReader(given(much), RULES).next_chunk(9)
