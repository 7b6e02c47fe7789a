"""What a document is, and how its text is encoded, by its bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile

import pytest

from doctrain_worker.pipeline.child import media
from doctrain_worker.sandbox.child.refusal import Refusal
from testkit import documents, office_documents, outlook
from testkit.office_documents import archive

DOCX = office_documents.docx("")
SHEET = archive({"xl/workbook.xml": "<workbook/>" * 99, "[Content_Types].xml": "<Types/>"})
"""In the order of openpyxl, which writes the types last."""
PACKED = archive({"a.txt": "Words.", "b.txt": "More words."}, packed=True)
PDF = documents.pdf([["x"]])
RTF = rb"{\rtf1\ansi x\par}"


def repr_of(value: bytes | str) -> str:
    """A short name of a test's argument, the same at any time."""
    return repr(value[:4])


def tar(compressed: str = "", content: bytes = b"", kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compressed}", format=kind) as made:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        made.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "claimed", "name", "kind"),
    [
        (documents.pdf([["x"]]), "text/plain", "x.txt", media.PDF),
        (b"\xef\xbb\xbf\r\n \n" + PDF, "", "", media.PDF),
        (b"\0\x05PDF\0" + bytes(120) + PDF, "", "", media.PDF),
        (b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE = PDF\r\n" + PDF, "", "", media.PDF),
        (b"# Heads of files\n\nEach begins with `%PDF-1.7` or %PDF-2.0.\n", "", "a.md", media.MARKDOWN),
        (b'HEAD = b"%PDF-1.7"\n', "", "a.py", media.PLAIN),
        (b"<html><p>%PDF-1.7</p>", "", "", media.HTML),
        (b"From: a@b\nMIME-Version: 1.0\n\n" + PDF, "", "", media.MAIL),
        (b"From: a@b\nMIME-Version: 1.0\n\n" + PDF + bytes(99), "", "", media.MAIL),
        (b"<?xml version='1.0'?><!-- x --><!DOCTYPE html>\n<html lang='en'><p>x</p></html>", "", "", media.HTML),
        (b"<?xml version='1.0'?><!DOCTYPE html [<!ENTITY a 'b'>]><html><p>x</p></html>", "", "", media.HTML),
        (b"<?xml version='1.0'?>" + b"<!---->" * 500 + b"<note>x</note>", "", "", media.XML),
        (b"<?xml version='1.0'?><note><![CDATA[<html>]]></note>", "", "", media.XML),
        (b" \n" * 3000 + b"Words far below.", "", "", media.PLAIN),
        (b"MZ-700 manual. The machine of Sharp.", "", "", media.PLAIN),
        (b"BZh and GIF89a are marks of files", "", "", media.PLAIN),
        (b"GIF89a is the mark of a picture, RIFF of a sound", "", "", media.PLAIN),
        (b"ID3 tags, Rar! and OggS", "", "", media.PLAIN),
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
        (archive({"a": "b"}), "UNSUPPORTED", r"`application/zip; unpack` \(--unpack on the command line\)"),
        (tar(), "UNSUPPORTED", r"archive \(tar\)"),
        (tar("gz"), "UNSUPPORTED", r"archive \(gzip\)"),
        (tar(content=PDF), "UNSUPPORTED", r"archive \(tar\)"),
        (archive({"a.pdf": PDF}), "UNSUPPORTED", r"archive \(ZIP\)"),
        (archive({"a.docx": DOCX}), "UNSUPPORTED", r"archive \(ZIP\)"),
        (b"Rar!\x1a\7\1\0" + PDF, "WRONG_TYPE", "RAR"),
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
    assert [media.detect(tar(kind), archives=True) for kind in ("", "gz", "bz2", "xz")] == [media.TAR, *media.COMPRESSED]
    assert [media.detect(pack(b"Words."), archives=True) for pack in (gzip.compress, bz2.compress)] == [media.GZIP, media.BZIP2]
    assert media.asks_to_be_unpacked("application/zip; unpack=true")
    assert not media.asks_to_be_unpacked("application/zip")


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_an_archive_is_one_whatever_its_first_member_is(kind: int) -> None:
    assert media.detect(tar(content=PDF, kind=kind), "application/pdf", "a.pdf", archives=True) == media.TAR
    for member in (PDF, DOCX, office_documents.odt("")):
        assert media.detect(archive({"a": member, "b.txt": "Words."}), archives=True) == media.ZIP


@pytest.mark.parametrize("archives", [False, True])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (DOCX[:-30], ""),
        (DOCX[:200], "minutes.docx"),
        (SHEET[: len(SHEET) * 2 // 3], "sums.xlsx"),
        (b"PK\x03\x04garbage", "report.docx"),
        (PACKED[: len(PACKED) * 2 // 3], "archive.zip"),
    ],
    ids=["no directory", "first bytes", "sheet", "garbage", "archive"],
)
def test_what_begins_as_an_archive_and_cannot_be_opened_is_damaged(content: bytes, name: str, archives: bool) -> None:
    with pytest.raises(Refusal, match="damaged or cut off") as refused:
        media.detect(content, "", name, archives=archives)
    assert refused.value.code == "CORRUPT"


@pytest.mark.parametrize(
    ("claimed", "name"),
    [("", "Report.DOCX"), ("", "a.odt"), ("", "a.epub"), (f"{media.XLSX}; charset=x", "a"), (media.ODS, "a.zip"), (media.EPUB, "")],
)
def test_an_archive_that_is_said_to_be_an_office_document_and_is_none_is_damaged(claimed: str, name: str) -> None:
    with pytest.raises(Refusal, match="damaged or cut off") as refused:
        media.detect(PACKED, claimed, name)
    assert refused.value.code == "CORRUPT"
    assert media.detect(PACKED, claimed, name, archives=True) == media.ZIP


def test_a_sound_office_document_of_a_kind_that_is_not_read_is_not_told_as_damaged() -> None:
    slides = archive({"mimetype": "application/vnd.oasis.opendocument.presentation", "content.xml": "<a/>"})
    with pytest.raises(Refusal, match="archive") as refused:
        media.detect(slides, "", "talk.odp")
    assert refused.value.code == "UNSUPPORTED"
