"""Small documents made as tests need them, whole and broken."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence

import pypdfium2
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher
from PIL import Image


def pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with the lines of each page in Helvetica; a page without lines holds no text. ASCII only, no parentheses."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        drawn = b"BT /F1 12 Tf 72 720 Td 16 TL " + b" ".join(f"({line}) Tj T*".encode() for line in lines) + b" ET"
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>"
            % (len(objects) + 2)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    return assembled(objects, b"")


def drawn_pdf(drawn: str) -> bytes:
    """A PDF of one page with what these operators draw; its font F1 is Helvetica with the letters of cp1252."""
    return assembled([*_PAGE, b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn.encode("cp1252"))], b"")


_PAGE = (
    b"<< /Type /Catalog /Pages 2 0 R >>",
    b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents 5 0 R >>",
)


def owner_locked_pdf(drawn: str) -> bytes:
    """``drawn_pdf``, encrypted (RC4 of 40 bits): everybody may open it, and who has not its owner's password may not copy or change it."""
    padding = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
    identity, rights = bytes(16), -60
    owner = _rc4(hashlib.md5((b"of the owner" + padding)[:32]).digest()[:5], padding)
    key = hashlib.md5(padding + owner + struct.pack("<i", rights) + identity).digest()[:5]
    name, number = b"<%s>" % identity.hex().encode(), len(_PAGE) + 1
    hidden = _rc4(hashlib.md5(key + number.to_bytes(3, "little") + bytes(2)).digest()[:10], drawn.encode())
    user = _rc4(key, padding)
    lock = b"<< /Filter /Standard /V 1 /R 2 /P %d /O <%s> /U <%s> >>" % (rights, owner.hex().encode(), user.hex().encode())
    objects = [*_PAGE, b"<< /Length %d >>\nstream\n%s\nendstream" % (len(hidden), hidden), lock]
    return assembled(objects, b"/Encrypt %d 0 R /ID [%s %s] " % (len(objects), name, name))


def _rc4(key: bytes, content: bytes) -> bytes:
    cipher = Cipher(ARC4(key), mode=None).encryptor()
    return cipher.update(content)


def ruled_pdf(rows: Sequence[Sequence[str]], *, above: str, below: str, owner_locked: bool = False) -> bytes:
    """A PDF with a table in rules between two lines of text."""
    drawn = [f"BT /F1 12 Tf 72 720 Td ({above}) Tj ET"]
    for down in range(len(rows) + 1):
        drawn.append(f"72 {690 - 20 * down} m {72 + 100 * len(rows[0])} {690 - 20 * down} l S")
    for across in range(len(rows[0]) + 1):
        drawn.append(f"{72 + 100 * across} 690 m {72 + 100 * across} {690 - 20 * len(rows)} l S")
    for down, row in enumerate(rows):
        drawn += [f"BT /F1 12 Tf {78 + 100 * across} {676 - 20 * down} Td ({cell}) Tj ET" for across, cell in enumerate(row)]
    drawn.append(f"BT /F1 12 Tf 72 {650 - 20 * len(rows)} Td ({below}) Tj ET")
    return (owner_locked_pdf if owner_locked else drawn_pdf)("\n".join(drawn))


def form_pdf(filled: str) -> bytes:
    """A PDF with a form whose only field is filled in, and no other text."""
    shown = b"/Tx BMC q BT /F1 12 Tf 2 4 Td (%s) Tj ET Q EMC" % filled.encode()
    font = b"/DR << /Font << /F1 3 0 R >> >>"
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (%s) /Rect [72 700 400 720] /P 4 0 R /F 4 /AP << /N 7 0 R >> >>"
    look = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 328 20] /Resources << /Font << /F1 3 0 R >> >> /Length %d >>\nstream\n%s\nendstream"
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] %s /DA (/F1 12 Tf) >> >>" % font,
        *_PAGE[1:3],
        _PAGE[3].replace(b"/Contents", b"/Annots [6 0 R] /Contents"),
        b"<< /Length 0 >>\nstream\n\nendstream",
        field % filled.encode(),
        look % (len(shown), shown),
    ]
    return assembled(objects, b"")


def encrypted_pdf() -> bytes:
    """A PDF whose user password is not empty, by its security handler's entries; what it holds cannot be opened."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 0 /Kids [] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"1f" * 32, b"2e" * 32),
    ]
    return assembled(objects, b"/Encrypt 3 0 R /ID [<00> <00>] ")


def assembled(objects: Sequence[bytes], trailer: bytes) -> bytes:
    """A PDF of these objects, numbered from 1, the first its catalog; ``trailer`` are more entries of its trailer."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def with_picture(content: bytes, picture: Image.Image) -> bytes:
    """A PDF with a picture over its last page, as a scanner puts it there."""
    document = pypdfium2.PdfDocument(content)
    page = document[len(document) - 1]
    bitmap = pypdfium2.PdfBitmap.from_pil(picture)
    drawn = pypdfium2.PdfImage.new(document)
    drawn.set_bitmap(bitmap)
    drawn.set_matrix(pypdfium2.PdfMatrix().scale(*page.get_size()))
    page.insert_obj(drawn)
    page.gen_content()
    out = io.BytesIO()
    document.save(out)
    document.close()
    return out.getvalue()
