"""What a document is, by its bytes. Names and claims lie, so they only choose among kinds of text."""

from __future__ import annotations

import re

from doctrain_worker.sandbox.refusal import Refusal

PDF = "application/pdf"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
CSV = "text/csv"
MAIL = "message/rfc822"
RTF = "application/rtf"
XML = "application/xml"

_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_ZIPPED = (
    (b"word/", _OPEN_XML + "wordprocessingml.document"),
    (b"ppt/", _OPEN_XML + "presentationml.presentation"),
    (b"xl/", _OPEN_XML + "spreadsheetml.sheet"),
)
_ZIPPED_MIMETYPES = (_OPEN_DOCUMENT + "text", _OPEN_DOCUMENT + "spreadsheet", _OPEN_DOCUMENT + "presentation", "application/epub+zip")

# What begins with these is no document that we read; each with the word for it.
_FOREIGN = (
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x89PNG\r\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"II*\0", "a picture (TIFF)"),
    (b"MM\0*", "a picture (TIFF)"),
    (b"RIFF", "sound, video or a picture"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ", "a compressed file (xz)"),
    (b"7z\xbc\xaf", "an archive (7z)"),
    (b"Rar!", "an archive (RAR)"),
    (b"\xd0\xcf\x11\xe0", "a file of an old Office version; save it in the present format (.docx, .xlsx, .pptx)"),
    (b"SQLite format 3", "a database"),
    (b"OggS", "sound or video"),
    (b"ID3", "sound"),
)

_HTML_START = re.compile(rb"<(?:!doctype\s+html|html|head|body|article|div|p|h1|table)\b", re.IGNORECASE)
_MAIL_START = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:From|Received|Return-Path|MIME-Version|Message-ID):", re.IGNORECASE
)
_SUFFIXES = {".md": MARKDOWN, ".markdown": MARKDOWN, ".csv": CSV, ".eml": MAIL, ".html": HTML, ".htm": HTML}
_TEXT_CLAIMS = (MARKDOWN, CSV, MAIL, HTML)
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 4096


def detect(content: bytes, claimed: str = "", name: str = "") -> str:
    """The media type. Raises Refusal EMPTY or UNSUPPORTED.

    Args:
        content: all bytes.
        claimed: what the tenant said it is; may be empty or wrong.
        name: the last part of its URI.
    """
    head = content[:_LOOKED_AT]
    if not head.strip(b" \t\r\n\0\xef\xbb\xbf"):
        raise Refusal("EMPTY", "The document is empty; upload it again, or leave it out.")
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(b"PK\x03\x04"):
        return _zipped(content)
    if head.startswith(b"{\\rtf"):
        return RTF
    for magic, word in _FOREIGN:
        if head.startswith(magic):
            raise Refusal("UNSUPPORTED", _unsupported(word, claimed))
    if not head.startswith(_BOMS) and _is_binary(head):
        raise Refusal("UNSUPPORTED", _unsupported("binary data of a kind that is not known", claimed))
    return _text(head, claimed.partition(";")[0].strip().lower(), name.lower())


def _zipped(content: bytes) -> str:
    if content[30:38] == b"mimetype":
        told = content[38:120]
        for media_type in _ZIPPED_MIMETYPES:
            if told.startswith(media_type.encode()):
                return media_type
    if b"[Content_Types].xml" in content:
        for folder, media_type in _ZIPPED:
            if folder in content:
                return media_type
    raise Refusal("UNSUPPORTED", "The document is an archive (ZIP); unpack it and train the files in it.")


def _text(head: bytes, claimed: str, name: str) -> str:
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if _HTML_START.match(start) or (start[:5].lower() == b"<?xml" and b"<html" in start.lower()):
        return HTML
    if start[:5].lower() == b"<?xml":
        return XML
    by_name = next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "")
    wanted = claimed if claimed in _TEXT_CLAIMS else by_name
    if wanted == HTML:
        return HTML if b"<" in start else PLAIN
    if wanted == MAIL or (not wanted and _MAIL_START.match(head)):
        return MAIL if _MAIL_START.match(head) else PLAIN
    return wanted or PLAIN


def _is_binary(head: bytes) -> bool:
    """Control characters that no text holds; more than a few zeros may be UTF-16 without a mark, which has one every second byte."""
    zeros = head.count(0)
    if zeros:
        return not (zeros > len(head) // 3 and (head[1::2].count(0) == zeros or head[::2].count(0) == zeros))
    strange = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)
    return strange > len(head) // 100


def _unsupported(word: str, claimed: str) -> str:
    said = f"The document is {word}"
    if claimed and not _agrees(word, claimed):
        said += f", although it is said to be {claimed}"
    return f"{said}. PDF, HTML, Markdown, plain text, Office documents and mail can be trained."


def _agrees(word: str, claimed: str) -> bool:
    """Whether a claim says the same as the word, as far as its first half tells."""
    family = claimed.partition("/")[0].strip().lower()
    return (family == "image" and "picture" in word) or (family in ("audio", "video") and ("sound" in word or "video" in word))
