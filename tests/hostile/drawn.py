"""Pictures: of more pixels than there is memory, of more frames than there is time, of frames in a circle."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hostile.document import DAMAGE, LIMITS, MIB, OK, Hostile, hostile


def bombs() -> Iterator[Hostile]:
    """Pictures of a few bytes and billions of pixels."""
    yield hostile("pixel bomb", "large.png", _png(50_000, 50_000), "TOO_LARGE")
    yield hostile("pixel bomb", "wide.png", _png(2_000_000_000, 1), LIMITS, DAMAGE)
    yield hostile("pixel bomb", "high.png", _png(1, 39_000_000), LIMITS, DAMAGE, OK)
    remark = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(64 * MIB)))
    yield hostile("pixel bomb", "remark.png", _png(100, 100, remark), OK, DAMAGE)
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;"
    yield hostile("pixel bomb", "large.gif", gif, LIMITS, DAMAGE)
    head = struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield hostile("pixel bomb", "large.bmp", b"BM" + head, LIMITS, DAMAGE)
    yield hostile("pixel bomb", "large.tif", _tiff(1, size=100_000), LIMITS, DAMAGE)


def frames() -> Iterator[Hostile]:
    """Pictures of many pages."""
    yield hostile("too many pages", "frames.tif", _tiff(5000), "TOO_MANY_PAGES")
    yield hostile("loops", "circle.tif", _tiff(3, loop=True), OK, LIMITS, DAMAGE)
    frame = b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    yield hostile("too many pages", "frames.gif", b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 5000 + b";", "TOO_MANY_PAGES")


def _png(width: int, height: int, extra: bytes = b"") -> bytes:
    """One whose pixels never come."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _tiff(count: int, *, size: int = 1, loop: bool = False) -> bytes:
    """So many frames of white; with ``loop`` the last is followed by the first."""
    tags = ((256, size), (257, size), (258, 1), (259, 1), (262, 1), (273, 8), (277, 1), (278, size), (279, 1))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    out = bytearray(b"II*\0" + struct.pack("<I", 10) + b"\xff\0")
    for number in range(count):
        after = len(out) + 2 + len(body) + 4
        after = after if number + 1 < count else (10 if loop else 0)
        out += struct.pack("<H", len(tags)) + body + struct.pack("<I", after)
    return bytes(out)
