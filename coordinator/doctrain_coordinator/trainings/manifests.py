"""Reads a manifest: JSON lines, decoded and checked chunk by chunk, some MiB of it in memory at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from doctrain_coordinator.core.documents import document_id_fault, duplicate_id, media_type_fault, metadata_fault
from doctrain_coordinator.core.manifest_lines import fault_of
from doctrain_coordinator.trainings.chunks import Chunk, Row
from doctrain_mesh.errors import InvalidManifestError
from doctrain_mesh.network.uris import UriRules

MAX_LINE_BYTES = 64 * 1024
ENOUGH_BYTES = 16 * 2**20
"""A chunk that has so many bytes takes no further piece of the manifest in."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a manifest."""

    document_id: str
    uri: str
    media_type: str = ""
    metadata: dict[str, str] = {}


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


def fault(line: int, sentence: str) -> InvalidManifestError:
    """What is wrong with one line, counted from 1."""
    return InvalidManifestError(f"Line {line:,} of the manifest: {sentence}", metadata={"line": str(line)})


class ManifestReader:
    """Cuts the bytes from ``offset`` on into chunks of lines; ``lines`` were read before.

    A chunk that has ``enough_bytes`` takes no further piece in.
    Of ids that several documents of a chunk have, the first is refused; with ``keep_duplicates`` they are gathered in
    ``duplicate_ids`` instead.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        uris: UriRules,
        *,
        offset: int = 0,
        lines: int = 0,
        keep_duplicates: bool = False,
        enough_bytes: int = ENOUGH_BYTES,
    ) -> None:
        self._pieces, self._uris, self._keep_duplicates, self._enough_bytes = pieces, uris, keep_duplicates, enough_bytes
        self.duplicate_ids: dict[str, None] = {}
        self._offset, self._lines = offset, lines
        self._whole: list[bytes] = []
        self._whole_bytes = 0
        self._rest = b""
        self._ended = False
        self._reading: asyncio.Task[bytes | None] | None = None

    async def aclose(self) -> None:
        """Ends a read that is under way; call it when chunks were asked for with a limit of time."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def next_chunk(self, most: int, seconds: float | None = None) -> Chunk:
        """The next ``most`` lines, or as many as are enough bytes, or what is left or came within ``seconds``, maybe nothing.

        Raises InvalidManifestError that names the line.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while len(self._whole) < most and self._whole_bytes < self._enough_bytes and not self._ended and await self._read_on(until):
            pass
        lines, self._whole = self._whole[:most], self._whole[most:]
        rows, line_of = await asyncio.to_thread(self._parse, lines, self._lines + 1) if lines else ([], [])
        size = sum(map(len, lines))
        self._whole_bytes -= size
        self._offset += size + len(lines)
        self._lines += len(lines)
        return Chunk(len(rows), self._offset, self._ended and not self._whole, rows, line_of, self._lines)

    async def _read_on(self, until: float | None) -> bool:
        """Takes the next piece in; False when it did not come in time. It is waited for on the next call."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._next_piece(), name="the next piece of a manifest")
        try:
            await asyncio.wait({self._reading}, timeout=None if until is None else max(0.0, until - time.monotonic()))
        except asyncio.CancelledError:
            self._reading.cancel()
            raise
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        piece = reading.result()
        if piece is None:
            self._ended = True
            if self._rest:
                self._add([self._rest])
            return True
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self._add(whole)
        if len(self._rest) > MAX_LINE_BYTES:
            raise fault(self._lines + len(self._whole) + 1, f"A line has at most {MAX_LINE_BYTES:,} bytes.")
        return True

    def _add(self, lines: Sequence[bytes]) -> None:
        self._whole += lines
        self._whole_bytes += sum(map(len, lines))

    async def _next_piece(self) -> bytes | None:
        return await anext(self._pieces, None)

    def _parse(self, lines: Sequence[bytes], first: int) -> tuple[list[Row], list[int]]:
        rows: list[Row] = []
        line_of: list[int] = []
        seen: set[str] = set()
        reason_of = self._uris.reason
        for number, given in enumerate(lines, first):
            text = given.removeprefix(BYTE_ORDER_MARK) if number == 1 else given
            if not text or text.isspace():
                continue
            if len(text) > MAX_LINE_BYTES:
                raise fault(number, f"A line has at most {MAX_LINE_BYTES:,} bytes.")
            try:
                line = _decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise fault(number, fault_of(text)) from None
            name = line.document_id
            if not name.isprintable() or not 0 < len(name) <= 128:
                wrong = document_id_fault(name)
                if wrong is not None:
                    raise fault(number, wrong)
            wrong = reason_of(line.uri) or (media_type_fault(line.media_type) if line.media_type else None)
            wrong = wrong or (metadata_fault(line.metadata) if line.metadata else None)
            if wrong is not None:
                raise fault(number, wrong)
            if name in seen:
                if not self._keep_duplicates:
                    raise fault(number, duplicate_id(name))
                self.duplicate_ids[name] = None
            seen.add(name)
            rows.append((name, line.uri, line.media_type or None, _encode(line.metadata).decode() if line.metadata else None))
            line_of.append(number)
        return rows, line_of
