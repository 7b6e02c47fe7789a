"""What a document is and what its text is, by its bytes."""

from __future__ import annotations

import io
import zipfile

import pytest

from doctrain_worker.pipeline.child import encoding, media
from doctrain_worker.pipeline.child.chunk import MOST_TOKENS, chunk
from doctrain_worker.pipeline.child.read import read
from doctrain_worker.pipeline.wire import DocumentText
from doctrain_worker.sandbox.refusal import Refusal
from testkit import documents

RTF = rb"{\rtf1\ansi\ansicpg1250\deff0{\fonttbl{\f0 Arial;}}\f0 \'c8l\'e1nek t\'fddne\par}"


def office(**files: str) -> bytes:
    """A ZIP archive of these files; the same bytes at any time, since tests are named by them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of a fixed date: the bytes name test cases
    return out.getvalue()


_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_MAIN_PART = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
DOCX = office(
    **{
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        f'<Override PartName="/word/document.xml" ContentType="{_OFFICE}.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_MAIN_PART}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r>'
        "<w:t>Minutes of the harbour board</w:t></w:r></w:p></w:body></w:document>",
    }
)


@pytest.mark.parametrize(
    ("content", "claimed", "name", "kind"),
    [
        (documents.pdf([["x"]]), "text/plain", "x.txt", media.PDF),
        (b"junk before\n" + documents.pdf([["x"]]), "", "", media.PDF),
        (RTF, "", "", media.RTF),
        (DOCX, "", "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"<!DOCTYPE html><p>x", "text/plain", "", media.HTML),
        (b"\xef\xbb\xbf\n<html>", "", "", media.HTML),
        ("<html><p>x</p>".encode("utf-16"), "", "", media.HTML),
        (b"Dear all", "", "letter.md", media.MARKDOWN),
        (b"Dear all", "text/markdown; charset=utf-8", "letter", media.MARKDOWN),
        (b"a,b\n1,2\n", "", "t.CSV", media.CSV),
        (b"Received: from x\nSubject: y\n\nz", "", "", media.MAIL),
        (b"Subject of this letter: none\n\nz", "", "letter.eml", media.PLAIN),
        (b"Just text", "application/pdf", "x.pdf", media.PLAIN),
        ("Zwölf".encode("utf-16-le") * 9, "", "", media.PLAIN),
        (b"<?xml version='1.0'?><note>x</note>", "", "", media.XML),
    ],
)
def test_the_type_follows_from_the_content(content: bytes, claimed: str, name: str, kind: str) -> None:
    assert media.detect(content, claimed, name) == kind


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "EMPTY", "empty"),
        (b"\n \t", "EMPTY", "empty"),
        (b"\x7fELF\x01\x02", "UNSUPPORTED", "is a program, although it is said to be application/pdf. PDF"),
        (b"\x89PNG\r\n\x1a\n123", "UNSUPPORTED", "picture"),
        (office(a="b"), "UNSUPPORTED", "archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "UNSUPPORTED", "old Office"),
        (bytes(range(1, 32)) * 20, "UNSUPPORTED", "binary"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, code: str, word: str) -> None:
    with pytest.raises(Refusal, match=word) as refused:
        media.detect(content, "application/pdf", "x.pdf")
    assert refused.value.code == code


def test_a_claim_that_is_right_is_not_held_against_a_document() -> None:
    with pytest.raises(Refusal, match=r"^The document is a picture \(PNG\)\. PDF, HTML"):
        media.detect(b"\x89PNG\r\n\x1a\n123", "image/png", "x.png")


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


def test_office_and_rtf_are_read() -> None:
    assert "Minutes of the harbour board" in read(DOCX, "", "").text
    assert "Článek týdne" in read(RTF, "", "").text


def test_html_gives_its_main_content_with_the_title() -> None:
    page = (
        "<html><head><title>Tides</title></head><body><nav><a href='/'>Home</a> <a href='/about'>About us</a></nav><article><p>"
        + "The moon and the sun raise the tides of the sea twice a day. " * 8
        + "</p></article><footer>Imprint</footer></body></html>"
    )
    found = read(page.encode(), "", "").text
    assert found.startswith("# Tides")
    assert "raise the tides" in found
    assert "About us" not in found


def test_a_page_too_large_to_look_for_its_main_content_is_read_whole() -> None:
    page = (
        "<html><head><title>Tides</title></head><body><nav>About us</nav>"
        + "<p>The moon raises the tides.</p>" * 150_000
        + "</body></html>"
    )
    found = read(page.encode(), "", "").text
    assert "Tides" in found[:40]
    assert found.count("raises") == 150_000


def test_what_the_finder_of_main_content_says_of_an_empty_page_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Refusal, match="words"):
        read(b"<html><body><script>x()</script></body></html>", "", "")
    assert not caplog.records


def test_a_page_of_pictures_among_pages_of_text_is_counted() -> None:
    found = read(documents.pdf([["Some words here."], [], ["More words here."]]), "", "")
    assert (len(found.page_starts), found.pages_without_text) == (3, 1)


@pytest.mark.parametrize(
    "sentence", ["The quick brown fox jumps over the lazy dog. ", "東京都は日本の首都であり世界最大の都市圏である。", "x" * 4000]
)
def test_no_chunk_is_longer_than_the_model_takes(sentence: str) -> None:
    from doctrain_mesh.embedding.minilm import tokenizer

    chunks = list(chunk(DocumentText(sentence * 100, media.PLAIN)))
    assert len(chunks) > 1
    assert max(len(tokenizer().encode(part.text, add_special_tokens=False).ids) for part in chunks) <= MOST_TOKENS
