"""A small good document of each kind: what is cut off, changed or wrapped to make hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from email.message import EmailMessage
from functools import cache

from testkit import documents, office_documents, outlook, pictures
from testkit.office_documents import archive, paragraph, word_table

WORDS = "The harbour master keeps the register of ships."


@cache
def documents_by_name() -> dict[str, bytes]:
    """By file name; each can be read."""
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "The harbour", "ann@example.org"
    mail.set_content(WORDS)
    mail.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="list.csv")
    body = paragraph("Harbour", style="Heading1") + paragraph(WORDS) + word_table([["a", "b"], ["1", "2"]])
    page = pictures.page([WORDS], size=(800, 200), letters=30)
    found = {
        "text.pdf": documents.pdf([[WORDS], ["More on a second page, as long as it takes."]]),
        "table.pdf": documents.ruled_pdf([["a", "b"], ["1", "2"]], above=WORDS, below=WORDS),
        "owned.pdf": documents.owner_locked_pdf(f"BT /F1 12 Tf 72 720 Td ({WORDS}) Tj ET"),
        "form.pdf": documents.form_pdf(WORDS),
        "scan.pdf": pictures.saved(page, "PDF"),
        "a.docx": office_documents.docx(body),
        "a.pptx": office_documents.pptx([("Harbour", [[WORDS], ["more"]])]),
        "a.xlsx": office_documents.xlsx({"Ships": [["a", "b"], [WORDS, "2"]]}),
        "a.ods": office_documents.ods({"Ships": [["a", "b"], [WORDS, "2"]]}),
        "a.odt": office_documents.odt(f"<text:p>{WORDS}</text:p>"),
        "a.epub": office_documents.epub([f"<h1>Harbour</h1><p>{WORDS}</p>"]),
        "a.rtf": rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\f0 " + WORDS.encode() + rb"\par}",
        "a.html": f"<html><head><title>Harbour</title></head><body><article><p>{WORDS * 9}</p></article></body></html>".encode(),
        "a.eml": mail.as_bytes(),
        "a.msg": outlook.msg("The harbour", WORDS, [("list.csv", b"a,b\n1,2\n")]),
        "a.json": b'{"harbour": {"words": ["' + WORDS.encode() + b'"]}}',
        "a.xml": f"<?xml version='1.0'?><harbour><words>{WORDS}</words></harbour>".encode(),
        "a.csv": f"a,b\n{WORDS},2\n".encode(),
        "a.md": f"# Harbour\n\n{WORDS}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n".encode(),
        "a.txt": WORDS.encode(),
        "a.png": pictures.saved(page, "PNG"),
        "a.jpg": pictures.saved(page, "JPEG"),
        "a.tif": pictures.saved(page, "TIFF", [page]),
        "a.webp": pictures.saved(page, "WEBP"),
        "a.gif": pictures.saved(page, "GIF", [pictures.page(["More of it."], size=(800, 200), letters=30)]),
        "a.bmp": pictures.saved(page.convert("1"), "BMP"),
    }
    return found | _archives({name: found[name] for name in ("a.txt", "a.md")})


def _archives(files: dict[str, bytes]) -> dict[str, bytes]:
    """Of these files, packed together and alone."""
    tar = _tar(files)
    return {
        "a.zip": archive(files, packed=True),
        "a.tar": tar,
        "a.tar.gz": gzip.compress(tar, mtime=0),
        "a.tar.xz": lzma.compress(tar),
        "a.txt.gz": gzip.compress(files["a.txt"], mtime=0),
        "a.md.bz2": bz2.compress(files["a.md"]),
    }


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(content), {"comment": "of the harbour"}
            made.addfile(member, io.BytesIO(content))
    return out.getvalue()
