"""PDF that means harm."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from hostile.document import DAMAGE, LIMITS, MIB, OK, Hostile, hostile
from testkit import documents
from testkit.documents import assembled

_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
_PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << /Font << /F1 3 0 R >> %s >> /Contents 5 0 R >>"


def encrypted() -> Iterator[Hostile]:
    """One that only its password opens."""
    yield hostile("encrypted", "locked.pdf", documents.encrypted_pdf(), "ENCRYPTED")


def too_many_pages() -> Iterator[Hostile]:
    """Many pages in few bytes, and a number of pages that is none."""
    pages = b"<< /Type /Pages /Count 20000 /Kids [%s] >>" % b" ".join([b"4 0 R"] * 20_000)
    yield hostile("too many pages", "same.pdf", _of(pages, b"BT /F1 12 Tf 72 72 Td (x) Tj ET"), "TOO_MANY_PAGES")
    for count in (b"2000000000", b"-1", b"99999999999999999999"):
        pages = b"<< /Type /Pages /Count %s /Kids [4 0 R] >>" % count
        said = f"{count.decode()} said.pdf"
        yield hostile("too many pages", said, _of(pages, b"BT /F1 12 Tf 72 72 Td (words) Tj ET"), OK, LIMITS, DAMAGE)


def bombs() -> Iterator[Hostile]:
    """Pages and pictures of more pixels than there is memory, contents that unpack to gigabytes."""
    for size in (20_000, 2_000_000_000):
        yield hostile("pixel bomb", f"page of {size}.pdf", _of(_ONE, b"0 0 m 9 9 l S", size=size), OK, LIMITS)
    head = b"<< /Type /XObject /Subtype /Image /Width 40000 /Height 40000 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode"
    picture = _stream(head, zlib.compress(bytes(40_000 * 4_000), 1))
    content = _of(_ONE, b"q 612 0 0 792 0 0 cm /Im Do Q", resources=b"/XObject << /Im 6 0 R >>", more=[picture])
    yield hostile("pixel bomb", "picture.pdf", content, OK, LIMITS)
    drawn = zlib.compress(b"BT /F1 12 Tf 72 72 Td (word) Tj ET\n" * (100 * MIB // 36), 1)
    yield hostile("zip bomb", "contents.pdf", _of(_ONE, drawn, packed=True), OK, LIMITS)
    twice = zlib.compress(zlib.compress(bytes(400 * MIB), 1), 9)
    filters = b"<< /Filter [/FlateDecode /FlateDecode]"
    content = assembled([_CATALOG, _ONE, _FONT, _PAGE % (612, 792, b""), _stream(filters, twice)], b"")
    yield hostile("zip bomb", "twice.pdf", content, OK, LIMITS, "CRASHED")  # pdfium aborts when it gets no memory


def loops() -> Iterator[Hostile]:
    """Objects that lead back to themselves."""
    yield hostile("loops", "kids.pdf", _of(b"<< /Type /Pages /Count 9 /Kids [2 0 R 4 0 R 2 0 R] >>", b"BT ET"), OK, LIMITS, DAMAGE)
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /Im 6 0 R >> >>"
    content = _of(_ONE, b"/Im Do", resources=b"/XObject << /Im 6 0 R >>", more=[_stream(form, b"/Im Do /Im Do")])
    yield hostile("loops", "form.pdf", content, OK, LIMITS)
    yield hostile("loops", "contents.pdf", assembled([_CATALOG, _ONE, _FONT, _PAGE % (612, 792, b""), b"5 0 R"], b""), OK, LIMITS, DAMAGE)
    yield hostile("loops", "parent.pdf", assembled([b"<< /Type /Catalog /Pages 1 0 R /Kids [1 0 R] >>"], b""), OK, LIMITS, DAMAGE)
    deep = b"<< /Type /Catalog /Pages 2 0 R /X " + b"[" * 200_000 + b"]" * 200_000 + b" >>"
    yield hostile(
        "deep", "arrays.pdf", assembled([deep, _ONE, _FONT, _PAGE % (612, 792, b""), _stream(b"<<", b"BT ET")], b""), OK, LIMITS, DAMAGE
    )
    lines = b"".join(b"%d %d m %d %d l S\n" % (n % 600, n % 790, (n * 7) % 600, (n * 11) % 790) for n in range(200_000))
    yield hostile("long", "lines.pdf", _of(_ONE, b"BT /F1 12 Tf 72 72 Td (words among lines) Tj ET\n" + lines), OK, LIMITS)


_ONE = b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>"


def _of(
    pages: bytes, drawn: bytes, *, size: int = 0, resources: bytes = b"", more: list[bytes] | None = None, packed: bool = False
) -> bytes:
    page = _PAGE % (size or 612, size or 792, resources)
    return assembled([_CATALOG, pages, _FONT, page, _stream(b"<< /Filter /FlateDecode" if packed else b"<<", drawn), *(more or [])], b"")


def _stream(head: bytes, content: bytes) -> bytes:
    return head + b" /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
