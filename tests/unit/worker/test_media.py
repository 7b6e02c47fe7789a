"""What a document is, and how its text is encoded, by its bytes."""

from __future__ import annotations

import io
import tarfile

import pytest

from doctrain_worker.pipeline.child import encoding, media
from doctrain_worker.sandbox.child.refusal import Refusal
from testkit import documents, office_documents, outlook
from testkit.office_documents import archive

DOCX = office_documents.docx("")
RTF = rb"{\rtf1\ansi x\par}"


def repr_of(value: bytes | str) -> str:
    """A short name of a test's argument, the same at any time."""
    return repr(value[:4])


def tar(compressed: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compressed}") as made:  # type: ignore[call-overload]
        made.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "claimed", "name", "kind"),
    [
        (documents.pdf([["x"]]), "text/plain", "x.txt", media.PDF),
        (b"junk before\n" + documents.pdf([["x"]]), "", "", media.PDF),
        (RTF, "", "", media.RTF),
        (DOCX, "", "", media.DOCX),
        (office_documents.xlsx({"One": [["a"]]}), "", "", media.XLSX),
        (office_documents.odt(""), "", "", media.ODT),
        (office_documents.epub(["<p>x</p>"]), "", "", media.EPUB),
        (outlook.msg("a", "b"), "", "", media.MSG),
        (b"\x89PNG\r\n\x1a\n...", "text/plain", "x.txt", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "", "image/jpeg"),
        (b"MM\0*", "", "", "image/tiff"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "", "", "image/webp"),
        (b"<!DOCTYPE html><p>x", "text/plain", "", media.HTML),
        (b"\xef\xbb\xbf\n<html>", "", "", media.HTML),
        ("<html><p>x</p>".encode("utf-16"), "", "", media.HTML),
        (b"Dear all", "", "letter.md", media.MARKDOWN),
        (b"Dear all", "text/markdown; charset=utf-8", "letter", media.MARKDOWN),
        (b"a,b\n1,2\n", "", "t.CSV", media.CSV),
        (b"a\tb\n1\t2\n", "text/tab-separated-values", "t", media.CSV),
        (b'{"a": 1}', "", "", media.JSON),
        (b'{"a": 1}\n{"a": 2}\n', "", "a.jsonl", media.JSON),
        (b"[1] A footnote, no JSON", "", "", media.PLAIN),
        (b"Received: from x\nSubject: y\n\nz", "", "", media.MAIL),
        (b"Subject of this letter: none\n\nz", "", "letter.eml", media.PLAIN),
        (b"Just text", "application/pdf", "x.pdf", media.PLAIN),
        ("Zwölf".encode("utf-16-le") * 9, "", "", media.PLAIN),
        (b"<?xml version='1.0'?><note>x</note>", "", "", media.XML),
    ],
    ids=repr_of,
)
def test_the_type_follows_from_the_content(content: bytes, claimed: str, name: str, kind: str) -> None:
    assert media.detect(content, claimed, name) == kind


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "EMPTY", "empty"),
        (b"\n \t", "EMPTY", "empty"),
        (b"\x7fELF\x01\x02", "WRONG_TYPE", "is a program, although its name or its media type says application/pdf. PDF"),
        (archive({"a": "b"}), "UNSUPPORTED", "archive"),
        (tar(), "UNSUPPORTED", r"archive \(tar\)"),
        (tar("gz"), "UNSUPPORTED", r"archive \(gzip\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "UNSUPPORTED", "old Office"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "ENCRYPTED", "password"),
        (bytes(range(1, 32)) * 20, "WRONG_TYPE", "binary"),
    ],
    ids=repr_of,
)
def test_what_is_no_document_is_refused(content: bytes, code: str, word: str) -> None:
    with pytest.raises(Refusal, match=word) as refused:
        media.detect(content, "application/pdf", "x.pdf")
    assert refused.value.code == code


def test_a_claim_that_is_right_is_not_held_against_a_document() -> None:
    for content, claimed, said in (
        (b"RIFF\x10\0\0\0AVI ", "video/x-msvideo", r"sound, video or a picture \(video/x-msvideo by its name or its media type\)"),
        (b"MZ\x90\0", "application/x-msdos-program", r"a program \(application/x-msdos-program by its name or its media type\)"),
        (b"\0\0\0\x18ftypmp42\0\0", "video/mp4", r"binary data of a kind that is not known \(video/mp4 by its name or its media type\)"),
        (b"MZ\x90\0", "application/octet-stream", "a program"),
    ):
        with pytest.raises(Refusal, match=rf"^The document is {said}\. PDF, HTML") as refused:
            media.detect(content, claimed, "x")
        assert refused.value.code == "UNSUPPORTED"


def test_a_name_is_a_claim_too() -> None:
    with pytest.raises(Refusal) as refused:
        media.detect(b"\x7fELF\x01\x02", "", "report.pdf")
    assert refused.value.code == "WRONG_TYPE"


def test_an_archive_is_a_document_for_who_asks() -> None:
    assert media.detect(archive({"a": "b"}), archives=True) == media.ZIP
    assert {media.detect(tar(kind), archives=True) for kind in ("", "gz", "bz2", "xz")} == {media.TAR}
    assert media.asks_to_be_unpacked("application/zip; unpack=true")
    assert not media.asks_to_be_unpacked("application/zip")


@pytest.mark.parametrize(
    ("content", "html", "expected"),
    [
        ("Zwölf Boxkämpfer".encode(), False, "Zwölf Boxkämpfer"),
        (
            "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, möglicherweise häufig.".encode("cp1252"),
            False,
            "Zwölf Boxkämpfer",
        ),
        ("\ufeffZwölf".encode(), False, "Zwölf"),
        ("Zwölf".encode("utf-16"), False, "Zwölf"),
        ("Zwölf Boxkämpfer".encode("utf-16-be"), False, "Zwölf Boxkämpfer"),
        ('<meta charset="shift_jis">東京'.encode("shift_jis"), True, "東京"),
        (b'<meta charset="no-such-thing">caf\xc3\xa9', True, "café"),
        (b"a\r\nb\rc\x00d\x0ce", False, "a\nb\ncd\ne"),
    ],
)
def test_the_encoding_is_found(content: bytes, html: bool, expected: str) -> None:
    assert expected in encoding.decode(content, html=html)
