"""Reads a manifest: JSON lines, decoded and checked chunk by chunk, some MiB of it in memory at a time."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import msgspec

from doctrain_coordinator.core.documents import document_id_fault, duplicate_id, media_type_fault, metadata_fault
from doctrain_coordinator.core.manifest_lines import fault_of
from doctrain_coordinator.trainings.chunks import Chunk, Row
from doctrain_mesh.errors import InvalidManifestError
from doctrain_mesh.network.uris import UriRules

MAX_LINE_BYTES = 64 * 1024
ENOUGH_BYTES = 16 * 2**20
"""A chunk that has so many bytes takes no further piece of the manifest in."""
MOST_LINES = 1_000_000_000
"""With blank ones, which no limit of documents counts."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FILLED = re.compile(rb"\S[^\n]*")


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


def _too_long(line: int) -> InvalidManifestError:
    return fault(line, f"A line has at most {MAX_LINE_BYTES:,} bytes.")


@dataclass(slots=True)
class _Read:
    """The documents of a chunk: their rows, the line of each, and their ids."""

    rows: list[Row] = field(default_factory=list)
    line_of: list[int] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


class ManifestReader:
    """Cuts the bytes from ``offset`` on into chunks of lines; ``lines`` were read before.

    A chunk that has ``enough_bytes`` takes no further piece in; blank lines count by their bytes alone.
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
        self._whole, self._at = b"", 0
        self._rest = b""
        self._ended = False
        self._reading: asyncio.Task[bytes | None] | None = None

    async def aclose(self) -> None:
        """Ends a read that is under way; call it when chunks were asked for with a limit of time."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def next_chunk(self, most: int, seconds: float | None = None) -> Chunk:
        """The next ``most`` documents, or as many as are enough bytes, or what is left or came within ``seconds``, maybe none.

        Raises InvalidManifestError that names the line.
        """
        until = None if seconds is None else time.monotonic() + seconds
        begin, read = self._offset, _Read()
        while len(read.rows) < most and self._offset - begin < self._enough_bytes:
            if self._at < len(self._whole):
                await asyncio.to_thread(self._parse, read, most)
            elif not await self._read_on(until):
                break
        last = self._ended and self._at == len(self._whole)
        return Chunk(len(read.rows), self._offset, last, read.rows, read.line_of, self._lines)

    async def _read_on(self, until: float | None) -> bool:
        """Takes the next piece in; False when none is left, or none came in time: it is waited for on the next call."""
        if len(self._rest) > MAX_LINE_BYTES:
            raise _too_long(self._lines + 1)
        if self._ended:
            return False
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
            piece = b"\n" if self._rest else b""
        given = self._rest + piece
        end = given.rfind(b"\n") + 1
        self._whole, self._at, self._rest = given[:end], 0, given[end:]
        return True

    async def _next_piece(self) -> bytes | None:
        return await anext(self._pieces, None)

    def _parse(self, read: _Read, most: int) -> None:
        """Reads on in the lines that came whole, until there are ``most`` documents."""
        for text in self._filled():
            line = self._line(text)
            name = line.document_id
            if name in read.ids:
                if not self._keep_duplicates:
                    raise fault(self._lines, duplicate_id(name))
                self.duplicate_ids[name] = None
            read.ids.add(name)
            read.rows.append((name, line.uri, line.media_type or None, _encode(line.metadata).decode() if line.metadata else None))
            read.line_of.append(self._lines)
            if len(read.rows) == most:
                return

    def _filled(self) -> Iterator[bytes]:
        """The lines that are not blank, each counted as it is given: blank ones cost next to nothing, and no object is made of any."""
        whole = self._whole
        for found in _FILLED.finditer(whole, self._at):
            begin, end = found.span()
            if begin > self._at:
                self._count(whole.count(b"\n", self._at, begin))
                begin = max(whole.rfind(b"\n", self._at, begin) + 1, self._at)
            self._move(end + 1)
            self._count(1)
            text = whole[begin:end]
            if self._lines == 1:
                text = text.removeprefix(BYTE_ORDER_MARK)
            if text and not text.isspace():
                yield text
        self._count(whole.count(b"\n", self._at))
        self._move(len(whole))

    def _move(self, at: int) -> None:
        self._offset += at - self._at
        self._at = at

    def _count(self, lines: int) -> None:
        self._lines += lines
        if self._lines > MOST_LINES:
            raise fault(MOST_LINES + 1, f"A manifest has at most {MOST_LINES:,} lines, blank ones included.")

    def _line(self, text: bytes) -> Line:
        if len(text) > MAX_LINE_BYTES:
            raise _too_long(self._lines)
        try:
            line = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise fault(self._lines, fault_of(text)) from None
        name = line.document_id
        if not name.isprintable() or not 0 < len(name) <= 128:
            wrong = document_id_fault(name)
            if wrong is not None:
                raise fault(self._lines, wrong)
        wrong = self._uris.reason(line.uri) or (media_type_fault(line.media_type) if line.media_type else None)
        wrong = wrong or (metadata_fault(line.metadata) if line.metadata else None)
        if wrong is not None:
            raise fault(self._lines, wrong)
        return line
