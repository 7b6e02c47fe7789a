"""How text is encoded: by a mark, by what is stated, or by what it looks like."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from doctrain_worker.pipeline.child import encoding
from doctrain_worker.pipeline.child.source import Source
from testkit.languages import SENTENCES
from testkit.reading import LIMITS, text

WRITTEN = [(language, codec) for language, (codecs, *_) in SENTENCES.items() for codec in codecs]
NO_ENCODINGS = ("hex", "rot13", "bz2", "zlib", "uu", "quopri", "base64", "undefined", "idna", "punycode", "unicode_escape", "no-such")


@pytest.mark.parametrize(("language", "codec"), WRITTEN)
def test_text_that_does_not_say_its_encoding_is_read_short_and_long(language: str, codec: str) -> None:
    _, first, second = SENTENCES[language]
    for written in (first, second, f"{first}\n{second}\n" * 12):
        assert encoding.decode(written.encode(codec)) == written


@pytest.mark.parametrize("said", ["São João", "crème brûlée à", "naïve façade", "Zwölf Boxkämpfer", "på måndagen", "20 °C", "Señor Núñez"])
def test_a_few_letters_are_western_european(said: str) -> None:
    assert encoding.decode(said.encode("cp1252")) == said


def test_accents_far_behind_plain_letters_are_seen() -> None:
    written = "A line without any accent.\n" * 10_000 + "På måndagen gick färjan från den östra kajen.\n"
    assert encoding.decode(written.encode("cp1252")) == written
    written = "A line without any accent.\n" * 10_000 + "すべての人間は、生まれながらにして自由であり、\n" * 9000
    assert encoding.decode(written.encode("euc-jp")) == written


def test_a_broken_byte_leaves_utf_8_what_it_is() -> None:
    written = "Größe und Übergröße müssen geprüft werden. "
    assert encoding.decode(written.encode() + b"\xff" + written.encode()) == f"{written}\ufffd{written}"
    assert encoding.decode(("日本語のテキスト" * 9).encode()[:-1]).startswith("日本語のテキスト" * 8)


@pytest.mark.parametrize(
    ("content", "stated", "expected"),
    [
        ("Привет".encode("koi8-r"), "KOI8-R", "Привет"),
        ("Прив".encode("iso8859-5"), "iso-8859-5", "Прив"),
        ("“Größe”".encode("cp1252"), "iso-8859-1", "“Größe”"),
        ("Größe und Maß".encode(), "us-ascii", "Größe und Maß"),
        ("Größe und Maß".encode("cp1252"), "utf-8", "Größe und Maß"),
        ("東京".encode("utf-8-sig"), "shift_jis", "東京"),
        (b"plain", "x" * 999 + "\0", "plain"),
    ],
)
def test_what_is_stated_counts_where_it_can_be(content: bytes, stated: str, expected: str) -> None:
    assert encoding.decode(content, stated) == expected


def test_a_tenant_states_the_encoding_in_the_media_type() -> None:
    for claimed in ("text/plain; charset=koi8-r", 'text/plain;unpack; Charset = "KOI8-R"'):
        assert encoding.decode("Да".encode("koi8-r"), Source(b"", claimed, "", LIMITS).charset) == "Да"
    assert Source(b"", "text/plain", "", LIMITS).charset == ""


@pytest.mark.parametrize("name", NO_ENCODINGS)
def test_what_is_no_encoding_of_text_is_as_if_nothing_was_stated(name: str) -> None:
    page = f"<html><head><meta charset={name}></head><body><p>Größe und Maß</p></body></html>"
    assert "Größe und Maß" in text(page.encode())
    head = f"From: a@b\nSubject: =?{name}?q?Hello_there?=\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
    body = f"Content-Type: text/plain; charset={name}\nContent-Transfer-Encoding: 8bit\n\nGröße und Maß\n--x\n"
    attached = f"Content-Type: text/plain; charset={name}; name*={name}''a.txt\n"
    content = f"Content-Disposition: attachment; filename*={name}''a.txt\n\nÜber\n--x--\n"
    mail = (head + body + attached + content).encode()
    assert "Hello" in text(mail)
    assert "Größe und Maß" in text(mail)
    assert text(mail, part="a.txt") == "Über"


@pytest.mark.parametrize("name", [*NO_ENCODINGS, "utf\0-8"])
def test_a_mail_that_states_what_is_no_encoding_is_read_whole(name: str) -> None:
    mail = f"From: a@b\nMIME-Version: 1.0\nContent-Type: text/plain; charset={name}\nContent-Transfer-Encoding: 8bit\n\nGröße und Maß\n"
    for stated in ("charset=", "charset*=utf-8''", f"charset*={name}''"):
        assert text(mail.replace("charset=", stated).encode(), "a.eml").endswith("Größe und Maß")


def test_an_encoding_in_which_a_page_could_not_declare_it_is_none() -> None:
    for name in ("utf-16", "utf-32-be", "cp037"):
        assert "Größe" in encoding.decode(f"<meta charset={name}>Größe...".encode(), html=True)


def test_an_attachment_is_in_the_encoding_that_its_mail_states() -> None:
    message = EmailMessage()
    message["From"] = "a@b"
    message.set_content("See below.")
    message.add_attachment("Да", charset="koi8-r", filename="a.txt")
    assert text(message.as_bytes(), part="a.txt") == "Да"


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
