"""What a document is, by its bytes. Names and claims lie, so they only choose among kinds of text."""

from __future__ import annotations

import io
import json
import mimetypes
import re
import zipfile

from doctrain_worker.sandbox.child.refusal import Refusal

PDF = "application/pdf"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
CSV = "text/csv"
JSON = "application/json"
MAIL = "message/rfc822"
MSG = "application/vnd.ms-outlook"
RTF = "application/rtf"
XML = "application/xml"
ZIP = "application/zip"
TAR = "application/x-tar"
GZIP = "application/gzip"
BZIP2 = "application/x-bzip2"
XZ = "application/x-xz"
COMPRESSED = (GZIP, BZIP2, XZ)

_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
DOCX = _OPEN_XML + "wordprocessingml.document"
PPTX = _OPEN_XML + "presentationml.presentation"
XLSX = _OPEN_XML + "spreadsheetml.sheet"
ODT = _OPEN_DOCUMENT + "text"
ODS = _OPEN_DOCUMENT + "spreadsheet"
EPUB = "application/epub+zip"
OFFICE = (XLSX, ODT, ODS, EPUB, XML)

CORRUPT = "The document is damaged or cut off and cannot be opened; save it again, or leave it out."

KEPT_PLACES = (PLAIN, MARKDOWN)
"""Where a place in the text is that place in the document."""

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"BM", "image/bmp"),
)
_WEBP = "image/webp"
PICTURES = (*dict.fromkeys(kind for _, kind in _PICTURES), _WEBP)

_ZIPPED = (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX))
_ZIPPED_MIMETYPES = (ODT, ODS, EPUB)
_ZIPPED_MARKS = {"[Content_Types].xml", "mimetype", "META-INF/container.xml"}
_ZIPPED_CLAIMS = (_OPEN_XML, _OPEN_DOCUMENT, EPUB)
_ZIPPED_SUFFIXES = (".docx", ".docm", ".dotx", ".pptx", ".pptm", ".ppsx", ".xlsx", ".xlsm", ".odt", ".ods", ".odp", ".epub")
_COMPRESSED = (
    (re.compile(rb"\x1f\x8b\x08"), GZIP),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), BZIP2),
    (re.compile(rb"\xfd7zXZ\0"), XZ),
)
_ARCHIVE_WORDS = {ZIP: "ZIP", TAR: "tar", GZIP: "gzip", BZIP2: "bzip2", XZ: "xz"}

# What begins with these, and is no text, is no document that we read; each with the word for it.
_FOREIGN = (
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"RIFF", "sound, video or a picture"),
    (b"7z\xbc\xaf", "an archive (7z)"),
    (b"Rar!", "an archive (RAR)"),
    (b"SQLite format 3", "a database"),
    (b"OggS", "sound or video"),
    (b"ID3", "sound"),
)
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_HTML_START = re.compile(rb"<(?:!doctype\s+html|html|head|body|article|div|p|h1|table)\b", re.IGNORECASE)
_XHTML_START = re.compile(
    rb"<\?xml\b[^>]*>\s*(?>(?:<!--.*?-->|<!doctype\b(?:[^>\[]|\[[^\]]*\])*+>|<\?[^>]*>)\s*)*+<html\b", re.IGNORECASE | re.DOTALL
)
_TAR_MARKS = (b"ustar\0", b"ustar  \0")
_PRINTER_START = b"\x1b%-12345X"
_PDF_START = b"%PDF-"
_PDF_WITHIN = 1024
_MAIL_START = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:From|Received|Return-Path|MIME-Version|Message-ID):", re.IGNORECASE
)
_SUFFIXES = {
    **{".md": MARKDOWN, ".markdown": MARKDOWN, ".csv": CSV, ".tsv": CSV, ".eml": MAIL, ".html": HTML, ".htm": HTML},
    **{".json": JSON, ".jsonl": JSON, ".ndjson": JSON, ".xml": XML},
}
_TEXT_CLAIMS = {
    **{kind: kind for kind in (MARKDOWN, CSV, MAIL, HTML, JSON)},
    **{"text/tab-separated-values": CSV, "application/x-ndjson": JSON, "application/jsonl": JSON},
}
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BLANK = b" \t\r\n\0\xef\xbb\xbf"
_UNTOLD = "application/octet-stream"
_LOOKED_AT = 4096
_LARGEST_PARSED = 1 << 20


def detect(content: bytes, claimed: str = "", name: str = "", *, archives: bool = False) -> str:
    """The media type.

    Args:
        content: all bytes.
        claimed: what the tenant said it is; may be empty or wrong.
        name: the last part of its URI.
        archives: whether an archive is a document.

    Raises:
        Refusal: EMPTY, ENCRYPTED, UNSUPPORTED, CORRUPT, or WRONG_TYPE for what is said to be a document and is none.
    """
    head = content[:_LOOKED_AT]
    claimed = claimed.partition(";")[0].strip().lower()
    if not head.strip(_BLANK) and not content.strip(_BLANK):
        raise Refusal("EMPTY", "The document is empty; upload it again, or leave it out.")
    binary = not head.startswith(_BOMS) and _is_binary(head)
    office = claimed.startswith(_ZIPPED_CLAIMS) or name.lower().endswith(_ZIPPED_SUFFIXES)
    found = _by_magic(content, head, archives=archives, binary=binary, office=office)
    if found:
        return found
    if binary:
        if _MAIL_START.match(head):
            return MAIL  # with an attachment as it is
        word = next((word for magic, word in _FOREIGN if head.startswith(magic)), "binary data of a kind that is not known")
        raise _foreign(word, claimed, name)
    return _text(content, head, claimed, name.lower())


def asks_to_be_unpacked(claimed: str) -> bool:
    """Whether a media type has the parameter ``unpack``, by which a tenant wants an archive's members read."""
    return _parameters(claimed).get("unpack") in ("", "true", "1")


def stated_charset(claimed: str) -> str:
    """The encoding that a media type states, or nothing."""
    return _parameters(claimed).get("charset", "")


def _parameters(claimed: str) -> dict[str, str]:
    pairs = (parameter.partition("=") for parameter in claimed.lower().split(";")[1:])
    return {name.strip(): value.strip(' "') for name, _, value in pairs}


def _by_magic(content: bytes, head: bytes, *, archives: bool, binary: bool, office: bool) -> str:
    """The type of what is not text, or nothing.

    ``binary``: marks of letters alone count, too, for no text begins with them. ``office``: said to be a document that is a ZIP archive.
    """
    if head.startswith(_PDF_START):
        return PDF
    if head.startswith(b"{\\rtf"):
        return RTF
    if head.startswith(_COMPOUND):
        return _compound(content)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(content, archives=archives, office=office)
    packed = TAR if head[257:].startswith(_TAR_MARKS) else next((kind for magic, kind in _COMPRESSED if magic.match(head)), "")
    if packed:
        return _archive(packed, archives=archives)
    foreign = binary and head.startswith(tuple(magic for magic, _ in _FOREIGN))
    return _picture(head, binary=binary) or (PDF if not foreign and _is_pdf_behind_junk(head) else "")


def _is_pdf_behind_junk(head: bytes) -> bool:
    """Real ones stand behind blank lines, a mark, a binary head or a printer's commands; behind text, a PDF is what that is about."""
    before, found, _ = head[:_PDF_WITHIN].partition(_PDF_START)
    return bool(found) and (not before.strip(_BLANK) or before.startswith(_PRINTER_START) or _is_binary(before))


def _picture(head: bytes, *, binary: bool) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _WEBP
    found = next((kind for magic, kind in _PICTURES if head.startswith(magic)), "")
    if found == "image/bmp" and head[6:10] != b"\0\0\0\0":
        return ""
    return found if binary or found != "image/gif" else ""


def _compound(content: bytes) -> str:
    """Of the files of old Office programs, those that hold a mail, and those that hold a new one, locked."""
    if _wide("__properties_version1.0") in content:
        return MSG
    if _wide("EncryptedPackage") in content:
        raise Refusal("ENCRYPTED", "The document is protected by a password; save it without one and train it again.")
    raise Refusal("UNSUPPORTED", "The document is of an old Office version; save it in the present format (.docx, .xlsx, .pptx).")


def _wide(name: str) -> bytes:
    return name.encode("utf-16-le")


def _zipped(content: bytes, *, archives: bool, office: bool) -> str:
    """A type of Office or ZIP. Without a mark of any such document, what is said to be one is damaged, unless archives are asked for."""
    if content[30:38] == b"mimetype":
        told = content[38:120]
        for media_type in _ZIPPED_MIMETYPES:
            if told.startswith(media_type.encode()):
                return media_type
    names = _members(content)
    if "[Content_Types].xml" in names:
        for folder, media_type in _ZIPPED:
            if any(name.startswith(folder) for name in names):
                return media_type
    if office and not archives and _ZIPPED_MARKS.isdisjoint(names):
        raise Refusal("CORRUPT", CORRUPT)
    return _archive(ZIP, archives=archives)


def _members(content: bytes) -> list[str]:
    """The names in a ZIP archive. Raises Refusal CORRUPT: whoever is told to unpack one that cannot be opened is led in a circle."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.namelist()
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal("CORRUPT", CORRUPT) from error


def _archive(kind: str, *, archives: bool) -> str:
    if archives:
        return kind
    how = f"give it the media type `{kind}; unpack` (--unpack on the command line)"
    sentence = f"The document is an archive ({_ARCHIVE_WORDS[kind]}); unpack it and train the files in it, or {how} to have that done."
    raise Refusal("UNSUPPORTED", sentence)


def _text(content: bytes, head: bytes, claimed: str, name: str) -> str:
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if _HTML_START.match(start) or _XHTML_START.match(start):
        return HTML
    if start[:5].lower() == b"<?xml":
        return XML
    wanted = _TEXT_CLAIMS.get(claimed) or next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "")
    if wanted in (HTML, XML):
        return wanted if b"<" in start else PLAIN
    if wanted == MAIL or (not wanted and _MAIL_START.match(head)):
        return MAIL if _MAIL_START.match(head) else PLAIN
    return wanted or (JSON if _is_json(content, start) else PLAIN)


def _is_json(content: bytes, start: bytes) -> bool:
    """Whether text that nobody named is JSON; of a large one its beginning is believed."""
    if not start.startswith((b"{", b"[")):
        return False
    if len(content) > _LARGEST_PARSED:
        return start.startswith((b'{"', b'[{"')) or b'": ' in start
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _is_binary(head: bytes) -> bool:
    """Control characters that no text holds; more than a few zeros may be UTF-16 without a mark, which has one every second byte."""
    zeros = head.count(0)
    if zeros:
        return not (zeros > len(head) // 3 and (head[1::2].count(0) == zeros or head[::2].count(0) == zeros))
    strange = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)
    return strange > len(head) // 100


def _foreign(word: str, claimed: str, name: str) -> Refusal:
    """Only what is said to be a document lies; that a program or a film is said to be one is told as it is."""
    claimed = claimed or mimetypes.guess_type(name)[0] or ""
    lies = _is_document(claimed) and not (claimed.startswith("image/") and "picture" in word)
    said = f" ({claimed} by its name or its media type)" if claimed and claimed != _UNTOLD else ""
    said = f", although its name or its media type says {claimed}" if lies else said
    sentence = f"The document is {word}{said}. PDF, HTML, Markdown, plain text, pictures, Office documents and mail can be trained."
    return Refusal("WRONG_TYPE" if lies else "UNSUPPORTED", sentence)


def _is_document(claimed: str) -> bool:
    """Whether a media type is one of those that are read."""
    return claimed.startswith(("text/", "image/", "message/")) or claimed in (PDF, JSON, MSG, RTF, DOCX, PPTX, *OFFICE, *_TEXT_CLAIMS)
